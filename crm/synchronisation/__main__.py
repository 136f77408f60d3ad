"""Bring events from the outbox to the core (`worker`), and count how late they are (`monitor`)."""

import argparse
import logging
import signal
import threading
from pathlib import Path
from types import FrameType

from prometheus_client import CollectorRegistry, ProcessCollector, disable_created_metrics, start_http_server

from crm.arguments import address, database
from crm.core.client import Core
from crm.synchronisation.defects import KNOWN, delay_of
from crm.synchronisation.monitor import DelayCollector, keep_tidy, serve
from crm.synchronisation.pulse import Pulse
from crm.synchronisation.worker import Duty, Instruments, Worker


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m crm.synchronisation", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    worker = commands.add_parser("worker", help="deliver the events of a release")
    worker.add_argument("--release", required=True, help="whose events")
    worker.add_argument("--core-url", required=True)
    worker.add_argument("--core-database", required=True)
    worker.add_argument("--core-user", required=True)
    worker.add_argument("--core-password-file", type=Path, required=True)
    worker.add_argument(
        "--drain-abandoned", action="store_true", help="also the events of releases without a live worker"
    )
    worker.add_argument("--defect", action="append", default=[], help=f"for demonstrations: {KNOWN}")
    monitor = commands.add_parser("monitor", help="count what was delivered, what is late, what waits")
    monitor.add_argument(
        "--keep", type=float, default=3600.0, metavar="SECONDS", help="delivered rows stay (3600)"
    )
    for command in (worker, monitor):
        command.add_argument(
            "--database", type=database, required=True, help="libpq connection string (password: passfile=)"
        )
        command.add_argument("--metrics", type=address, required=True, metavar="HOST:PORT")
    return parser


def work(options: argparse.Namespace, hold: float) -> None:
    core = Core(options.core_url, options.core_database, options.core_user, options.core_password_file)
    instruments = Instruments(options.release)
    worker = Worker(options.database, Duty(options.release, options.drain_abandoned, hold), core, instruments)

    def end(signum: int, frame: FrameType | None) -> None:
        worker.stop()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    pulse = Pulse(options.database, options.release)
    pulse.start()  # before it is ready for whoever waits: from now on nobody else drains this release
    host, port = options.metrics
    server, _ = start_http_server(port, host, registry=instruments.registry)
    try:
        worker.run()
    finally:
        pulse.stop()
        core.close()
        server.shutdown()


def watch(options: argparse.Namespace) -> None:
    over = threading.Event()

    def end(signum: int, frame: FrameType | None) -> None:
        over.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    registry = CollectorRegistry()
    registry.register(DelayCollector(options.database))
    ProcessCollector(registry=registry)
    host, port = options.metrics
    server = serve(registry, host, port)
    keep_tidy(options.database, over, options.keep)
    server.shutdown()


def main() -> None:
    parser = arguments()
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    disable_created_metrics()  # type: ignore[no-untyped-call]
    if options.command == "monitor":
        watch(options)
        return
    try:
        hold = delay_of(options.defect)
    except ValueError as error:
        parser.error(str(error))
    work(options, hold)


if __name__ == "__main__":
    main()
