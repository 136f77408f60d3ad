"""Serve the touchpoints of one release: `python -m crm.touchpoints --listen 127.0.0.1:8001 ...`."""

import argparse
import logging

import uvicorn
from prometheus_client import disable_created_metrics

from crm.arguments import address, database
from crm.touchpoints.app import application
from crm.touchpoints.defects import KNOWN, Defects
from crm.touchpoints.service import Service

DRAIN_SECONDS = 5  # as long as the edge waits for an answer
KEEP_ALIVE_SECONDS = 2 * 3600


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m crm.touchpoints", description=__doc__)
    parser.add_argument("--listen", type=address, required=True, metavar="HOST:PORT")
    parser.add_argument(
        "--database", type=database, required=True, help="libpq connection string (password: passfile=)"
    )
    parser.add_argument("--release", required=True, help="the version this process is")
    known = KNOWN.replace("%", "%%")  # argparse fills its help texts in
    parser.add_argument("--defect", action="append", default=[], help=f"for demonstrations: {known}")
    options = parser.parse_args()
    try:
        defects = Defects.parse(options.defect)
    except ValueError as error:
        parser.error(str(error))
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # Series that nobody reads, one for each counter.
    disable_created_metrics()  # type: ignore[no-untyped-call]
    host, port = options.listen
    uvicorn.run(
        application(Service.make(options.release, options.database, defects)),
        host=host,
        port=port,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        access_log=False,
        server_header=False,
        date_header=False,
        log_level="warning",
        # Only the edge connects, and keeps connections for an hour: a service that hangs up first would now
        # and then do so under a request.
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )


if __name__ == "__main__":
    main()
