"""The customers' side of the reference CRM: four channels over HTTP, one database, an outbox.

Start with `python -m crm.touchpoints`; make the tables with `python -m crm.touchpoints.schema`.
One file per channel (web, wechat, shop, call); `front.py` is what every request passes.
"""
