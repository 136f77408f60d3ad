"""From the outbox to the core: `python -m crm.synchronisation worker` (one per release) and `monitor` (one).

The worker delivers, the monitor counts what was delivered, what is late and what waits. Neither of them has
any state but the database, so that both may be killed at any instant.
"""
