"""The run's end of the link, inside Locust: gathers workers, gives each its share, keeps what they measure.

    python -m loadtests.runners.master --folder RUN --bind HOST:PORT --token-file FILE --parent PID

The parent talks to it through files of the run's folder, as to workers on its own machine: it reads
`run.json`, `start` and `until`, is stopped by SIGUSR1, and writes `status.json`, every worker's recording as
it comes in, and at the end `members.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent  # type: ignore[import-untyped]
import locust.runners
from locust import User, task
from locust.env import Environment
from locust.exception import RPCError

from huidu.foundation.workspace import write_atomic
from loadtests.filling import read_rows
from loadtests.plan import Plan
from loadtests.recording import recording_file
from loadtests.runners import link, messages
from loadtests.runners.asking import ClockAsker
from loadtests.runners.curve import secure
from loadtests.runners.page import Page
from loadtests.runners.roll import Member, Status

# A worker that says nothing for so long is lost; its share is never another's.
LOST_SECONDS = 6.0
_TICK = 0.02
# After the last worker's schedule and drain: for the rest of its recording to come.
_TAIL_SECONDS = 20.0


class Generator(User):
    """What every worker runs one of; here only its name counts."""

    @task
    def offer(self) -> None:
        """Done by the workers."""


class Master:
    """One run."""

    def __init__(self, runner: Any, plan: Plan, folder: Path, parent: int, page: Page | None) -> None:
        self._runner, self._plan, self._folder, self._parent = runner, plan, folder, parent
        self._page = page
        self._members: dict[str, Member] = {}
        self._refused: list[str] = []
        self._clocks = ClockAsker(runner.send_message)
        self._ready = False
        self.stopped = ""
        listeners: dict[str, Callable[[str, dict[str, Any]], None]] = {
            messages.JOIN: self._join,
            messages.READY: lambda node, data: self._mark(node, "ready"),
            messages.STANDING: lambda node, data: self._mark(node, "standing"),
            messages.UNFIT: self._unfit,
            messages.CLOCK: self._clocks.answer,
            messages.MEASURED: self._measured,
        }
        for name, listener in listeners.items():
            runner.register_message(name, self._told(listener))

    def run(self) -> None:
        """From the first worker to the last byte."""
        self._say()
        if self._gather() and self._set_up():
            self._ready = True
            self._say()
            self._offer()
        for member in self._members.values():
            if member.complete and not member.lost:
                member.clock = member.clock.model_copy(update={"after": self._clocks.compare(member.node)})
        self._write_ends()
        self._end_all(0, "")

    def stop(self, why: str) -> None:
        """No more arrivals; what is open may end. Only the first reason is kept."""
        if not self.stopped:
            self.stopped = why
            self._say()
            self._tell(messages.STOP)

    def _gather(self) -> bool:
        def everybody() -> bool:
            members = self._members.values()
            return len(members) == self._plan.workers and all(each.ready for each in members)

        return self._until(everybody)

    def _set_up(self) -> bool:
        for member in self._members.values():
            member.clock = member.clock.model_copy(update={"before": self._clocks.compare(member.node)})
        gevent.spawn(self._runner.start, self._plan.workers, self._plan.workers)
        return self._until(lambda: all(each.standing for each in self._members.values()))

    def _until(self, holds: Callable[[], bool]) -> bool:
        """Wait; False where the run was stopped, or a worker got lost, before it began."""
        while not holds():
            gevent.sleep(_TICK)
            self._look()
            if self.stopped:
                return False
            for node in [node for node, each in self._members.items() if each.lost]:
                # It may come again: nothing of its share was sent yet.
                del self._members[node]
                self._say()
        return True

    def _offer(self) -> None:
        start, longer = self._folder / "start", self._folder / "until"
        while not start.exists():
            gevent.sleep(_TICK)
            self._look()
            if self.stopped:
                return
        zero, end, told = float(start.read_text(encoding="ascii")), self._plan.duration, None
        for member in self._members.values():
            apart = member.clock.before.monotonic if member.clock.before is not None else 0.0
            self._runner.send_message(messages.START, {"zero": zero + apart}, member.node)
        over = None
        while not all(each.complete or each.lost for each in self._members.values()):
            gevent.sleep(_TICK)
            self._look()
            if longer.exists() and told != (text := longer.read_text(encoding="ascii")):
                told, end = text, float(text)
                self._tell(messages.UNTIL, end=end)
            if self.stopped or (end is not None and time.monotonic() > zero + end):
                over = over or time.monotonic() + self._plan.drain + _TAIL_SECONDS
                if time.monotonic() > over:
                    return

    def _look(self) -> None:
        """Who is lost, whether anybody still wants the run, whether somebody touched the page."""
        now = time.monotonic()
        for member in self._members.values():
            if not member.lost and not member.complete and now - member.heard > LOST_SECONDS:
                member.lost = f"lost: nothing was heard of it for {now - member.heard:.1f} s"
                if member.standing:
                    self.stop(f"worker {member.index} was lost")
        if os.getppid() != self._parent:
            self.stop("the run's parent is gone")
        if self._page is not None and self._page.touched:
            self.stop(self._page.touched)

    def _join(self, node: str, data: dict[str, Any]) -> None:
        who = f"{data.get('host', '?')} (process {data.get('pid', '?')})"
        theirs, ours = str(data.get("identity", ""))[:200], link.identity()
        if theirs != ours:
            self._turn_away(
                node, who, messages.REFUSED, f"it is {theirs!r}, and the run is {ours!r}: install the same"
            )
            return
        if node in self._members:
            return
        taken = {each.index for each in self._members.values()}
        free = [index for index in range(self._plan.workers) if index not in taken]
        if not free:
            self._turn_away(node, who, messages.LATER, f"the run has its {self._plan.workers} workers")
            return
        member = Member(node, free[0], who, recording_file(self._folder, free[0]))
        self._members[node] = member
        self._runner.send_message(messages.PLAN, self._share(member.index), node)
        self._say()

    def _turn_away(self, node: str, who: str, code: int, why: str) -> None:
        self._refused.append(f"{who}: {why}")
        self._runner.send_message(messages.END, {"code": code, "reason": f"refused: {why}"}, node)
        self._runner.clients.pop(node, None)
        self._say()

    def _share(self, worker: int) -> dict[str, Any]:
        plan = self._plan
        rows = read_rows(plan.data.csv)[worker :: plan.workers] if plan.data is not None else []
        ca = plan.connections.ca
        return {
            "plan": plan.model_dump_json(by_alias=True),
            "worker": worker,
            "rows": rows,
            "key": plan.tokens.key_file.read_bytes() if plan.tokens is not None else None,
            "journeys": None
            if plan.journeys_file is None
            else plan.journeys_file.read_text(encoding="utf-8"),
            "ca": None if ca is None else ca.read_text(encoding="ascii"),
            "null": plan.kind == "calibration",
        }

    def _unfit(self, node: str, data: dict[str, Any]) -> None:
        member = self._members[node]
        member.lost = f"unfit: {str(data.get('reason'))[:300]}"
        self.stop(f"worker {member.index} on {member.who} cannot take part: {str(data.get('reason'))[:300]}")

    def _mark(self, node: str, what: str) -> None:
        setattr(self._members[node], what, True)

    def _measured(self, node: str, data: dict[str, Any]) -> None:
        member = self._members[node]
        if not member.lost:
            member.take(int(data["offset"]), messages.unpacked(data["packed"]), data["total"])
            if self._page is not None:
                self._page.update()
        answer = {"have": member.have, "gone": bool(member.lost)}
        self._runner.send_message(messages.HAVE, answer, node)

    def _told(self, listener: Callable[[str, dict[str, Any]], None]) -> Callable[..., None]:
        def call(environment: Any, msg: Any) -> None:
            member = self._members.get(msg.node_id)
            if member is not None:
                member.heard = time.monotonic()
            elif msg.type != messages.JOIN:
                return  # it was refused, and has not heard of it yet
            listener(msg.node_id, msg.data or {})

        return call

    def _tell(self, name: str, **data: Any) -> None:
        for member in self._members.values():
            self._runner.send_message(name, data, member.node)

    def _end_all(self, code: int, reason: str) -> None:
        for member in self._members.values():
            self._runner.send_message(messages.END, {"code": code, "reason": reason}, member.node)
        gevent.sleep(0.2)

    def _say(self) -> None:
        members = self._members.values()
        status = Status(
            address=f"{self._runner.master_bind_host}:{self._runner.server.port}",
            page=self._page.url if self._page is not None else "",
            came=[each.who for each in members],
            refused=self._refused[-20:],
            ready=self._ready,
            stopped=self.stopped,
        )
        write_atomic(self._folder / "status.json", status.model_dump_json() + "\n")

    def _write_ends(self) -> None:
        ends = [each.end().facts() for each in sorted(self._members.values(), key=lambda each: each.index)]
        write_atomic(
            self._folder / "members.json", json.dumps({"ends": ends, "stopped": self.stopped}) + "\n"
        )


def main() -> None:
    """Master a run."""
    parser = argparse.ArgumentParser()
    for name in ("--folder", "--bind", "--token-file"):
        parser.add_argument(name, required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--ui", type=int)
    given = parser.parse_args()
    sys.argv = sys.argv[:1]  # Locust's page would read them as Locust's own
    folder, parent = Path(given.folder), given.parent
    plan = Plan.model_validate_json((folder / "run.json").read_text(encoding="utf-8"))
    host, port = link.address(given.bind, "--bind")
    secure(link.keys_of(link.read_token(Path(given.token_file))))
    # Locust would give a lost worker's users to the others: a share of the schedule is not moved.
    locust.runners.HEARTBEAT_LIVENESS = 10**9
    environment = Environment(user_classes=[Generator], host=plan.host)
    try:
        runner = environment.create_master_runner(host, port)
    except (RPCError, SystemExit) as error:
        print(
            f"--bind {given.bind}: {error if isinstance(error, RPCError) else 'the port is taken'}",
            file=sys.stderr,
        )
        sys.exit(3)
    page = Page(environment, given.ui, plan, folder) if given.ui is not None else None
    master = Master(runner, plan, folder, parent, page)
    gevent.signal_handler(signal.SIGUSR1, master.stop, "told to stop")
    gevent.signal_handler(signal.SIGTERM, master.stop, "told to end")
    master.run()
    if page is not None:
        page.close()
    runner.quit()


if __name__ == "__main__":
    main()
