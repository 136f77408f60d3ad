"""`huidu load verify --on kubernetes`: the run happens on the cluster, and is judged here.

Master and workers are Jobs in the namespace that stack.json names (`generators`). The master runs the very
`huidu load verify --expect-workers` of other machines; its folder is fetched through the pod's exec, and
judged from the recording, as `huidu load report` does. Whatever happens, the Jobs are deleted: at the end, on
Ctrl-C, on an error; the cluster itself ends what nobody deletes.
"""

from __future__ import annotations

import secrets
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from huidu.foundation.errors import ConfigError, UsageError
from huidu.foundation.terminal import Terminal
from huidu.foundation.workspace import Workspace, write_atomic
from huidu.model.stack import Generators, Stack
from loadtests import runs
from loadtests.checks import Check
from loadtests.folders import new_folder, remember
from loadtests.health import SCOPE
from loadtests.plan import Plan
from loadtests.planning import make_plan
from loadtests.profile import Profile, load_profile
from loadtests.recording import Recording
from loadtests.report import reports
from loadtests.runners.cluster import START_SECONDS, Cluster, NoEvidence, Timing
from loadtests.runners.cluster_jobs import Wanted
from loadtests.runners.inside import unpack
from loadtests.runs import Asked
from loadtests.signals import handled
from loadtests.summary import Summary
from loadtests.wording import counted

_SLACK_SECONDS = 180.0
_MOST_FILES = 900_000
"""Bytes of all files together: a ConfigMap holds one MiB."""


def verify(
    asked: Asked,
    workers: int | None,
    terminal: Terminal,
    timing: Timing | None = None,
) -> tuple[Summary, Path]:
    """Start, follow, fetch, judge, delete. Returns the summary and its folder; INVALID where it was no run.

    `workers` None: as many as stack.json says. Raises ConfigError and UsageError before anything is started,
    also for what the cluster does not allow; Unreachable where its API server does not answer.
    """
    workspace = Workspace.from_env()
    stack = Stack.read(workspace.stack_file)
    where = _place(stack, workspace.stack_file)
    file, profile = load_profile(asked.profile)
    plan = make_plan(
        profile,
        file,
        host=asked.host,
        stack=stack,
        workers=workers or where.workers,
        journeys=asked.journeys,
        environment=None,
    )
    if plan.kind == "functional":
        raise UsageError("a functional suite is walked once, by one worker on this machine")
    texts = _files(file, profile, asked.journeys, stack)
    wanted = _wanted(plan, file, asked)
    cluster = Cluster(where)
    workspace.ensure_writable()
    folder = new_folder(workspace, asked.out, "verify", terminal.say)
    runs.describe(terminal, plan)
    try:
        with stopping(), cluster.run(wanted, texts, terminal.say):
            cluster.follow(wanted, timing or Timing(), terminal)
            number = unpack(cluster.fetch(wanted), folder)
            terminal.say(f"  fetched: {counted(number, 'file')}")
        if not (folder / "run.json").exists():  # it ended at its calibration
            _keep_plan(plan, folder)
        summary = reports.rewrite(folder)
    except (NoEvidence, ValueError) as error:
        summary = _invalid(plan, folder, str(error))
    finally:
        terminal.close()
    remember(workspace, folder, asked.out)
    return summary, folder


def _place(stack: Stack, file: Path) -> Generators:
    if len(stack.generators) != 1:
        raise ConfigError(
            f"names {counted(len(stack.generators), 'place')} for load generators, and one is needed",
            file=file,
            expected="`generators: [{namespace: ..., image: ...}]`, as `huidu stack up --target kubernetes`",
        )
    return stack.generators[0]


def _wanted(plan: Plan, file: Path, asked: Asked) -> Wanted:
    """The run's name, what its master is told, and when the cluster ends it."""
    name = f"load-{datetime.now(UTC).strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
    words = [file.name, "--workers", str(plan.workers)]
    if asked.host:
        words += ["--host", plan.host]
    if asked.journeys is not None:
        words += ["--journeys", asked.journeys.name]
    longest = plan.calibration * 2 + plan.warmup + (plan.duration or 0.0) + plan.extend + plan.drain
    return Wanted(name, plan.workers, tuple(words), START_SECONDS + longest + _SLACK_SECONDS)


def _files(file: Path, profile: Profile, journeys: Path | None, stack: Stack) -> dict[str, str]:
    """What the master reads, by name. Raises ConfigError, UsageError."""
    paths = {file.name: file}
    beside = [profile.data.csv if profile.data else None, profile.connections.ca]
    for each in (path for path in beside if path is not None):
        if each.is_absolute() or len(each.parts) != 1:
            raise ConfigError(
                f"{each} cannot go with it to the cluster", file=file, expected="a file beside it"
            )
        paths[each.name] = file.parent / each
    if journeys is not None:
        paths[journeys.name] = journeys
    try:
        texts = {name: path.read_text(encoding="utf-8") for name, path in paths.items()}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read: {error}", file=file) from None
    texts["stack.json"] = stack.model_dump_json(indent=1)
    size = sum(len(text.encode()) for text in texts.values())
    if size > _MOST_FILES:
        raise UsageError(
            f"profile, journeys and test data are {size} bytes together, and at most {_MOST_FILES} can go",
            remedy="use fewer rows, or run `huidu load worker` on machines of your own",
        )
    return texts


def _keep_plan(plan: Plan, folder: Path) -> None:
    write_atomic(folder / "run.json", plan.model_dump_json(indent=2, by_alias=True) + "\n")


def _invalid(plan: Plan, folder: Path, why: str) -> Summary:
    """The run that was none, with all its files, as a pipeline collects them."""
    _keep_plan(plan, folder)
    check = Check(rule="cluster", scope=SCOPE, state="invalid", measured=None, allowed=None, sentence=why)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return reports.write(folder, plan, Recording(), [], "", now, [check])


@contextmanager
def stopping() -> Iterator[None]:
    """SIGINT and SIGTERM end the run: what was started is deleted, and it proves nothing."""

    def handler(number: int, _frame: object) -> None:
        # Once: a second one must not keep the first from cleaning up.
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_IGN)
        raise NoEvidence(f"stopped by {signal.Signals(number).name}")

    with handled(handler):
        yield
