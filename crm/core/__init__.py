"""The core of the reference CRM: Tryton, with a module of its own for touchpoint events.

`tryton_module` is what runs inside Tryton, `client` speaks to it from the other side of the link, `prepare`
makes the database.
"""
