"""What Locust runs. Started by `huidu load`, it drives the plan named in HUIDU_LOAD_PLAN; started by hand
(`locust -f loadtests/locustfile.py --host http://...`) it runs the journeys of the reference CRM's four
channels as plain Locust users do, with Locust's own page: good for looking, not for proving."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import gevent  # type: ignore[import-untyped]
from locust import User, task

from loadtests.driver import Driver
from loadtests.plan import Plan
from loadtests.recording import recording_file
from loadtests.walker import Walker

PLAN = os.environ.get("HUIDU_LOAD_PLAN")

if PLAN is not None:

    class Generator(User):
        """One per worker: walks the schedule."""

        fixed_count = 1

        @task
        def offer(self) -> None:
            """The whole run."""
            try:
                _offer(Path(PLAN or ""), int(os.environ["HUIDU_LOAD_WORKER"]))
            finally:
                gevent.spawn_later(0.05, self.environment.runner.quit)
            gevent.sleep(60)

else:
    from loadtests.plain import Call, Shop, Web, Wechat  # noqa: F401 (Locust finds them here)


def _offer(plan_file: Path, worker: int) -> None:
    run, parent = plan_file.parent, int(os.environ["HUIDU_LOAD_PARENT"])
    plan = Plan.model_validate_json(plan_file.read_text(encoding="utf-8"))
    file = recording_file(run, worker)
    driver = Walker(plan, file) if plan.kind == "functional" else Driver(plan, worker, file)
    gevent.signal_handler(signal.SIGUSR1, driver.stop)

    def alive() -> bool:
        return os.getppid() == parent

    (run / f"ready-{worker}").touch()
    start = run / "start"
    while not start.exists():
        if not alive():
            return
        gevent.sleep(0.02)
    longer = run / "until"

    def until() -> float | None:
        return float(longer.read_text(encoding="ascii")) if longer.exists() else None

    if isinstance(driver, Walker):
        driver.run(alive)
        return
    # The monotonic clock is one for all processes of a machine.
    driver.run(float(start.read_text(encoding="ascii")), alive, until)
