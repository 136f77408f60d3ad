"""Traffic routers: one file per way of moving weights, behind the protocol in `router.py`."""
