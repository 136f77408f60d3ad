"""Letters that really leave, to a mail server and a web hook on this machine; and those that cannot."""

from __future__ import annotations

import email
import email.policy
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller as MailServer

from huidu.foundation.clock import SystemClock
from huidu.foundation.errors import ConfigError
from huidu.foundation.journal import Journal
from huidu.foundation.outcome import Outcome
from rollout.acts import acted, submit
from rollout.controller.duty import Duty
from rollout.failing.facts import Failing
from rollout.folder import publish
from rollout.plan.file import parse_plan
from rollout.plan.people import Address
from rollout.post import Post, notifiers, send_test, url_of
from rollout.record import report
from tests.rollout.test_guard import LIMITS, UNATTENDED, Site
from tests.rollout.worlds import PLAN, make_stage


class Mails:
    def __init__(self) -> None:
        self.messages: list[Any] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.messages.append(email.message_from_bytes(envelope.content, policy=email.policy.default))
        return "250 OK"


@pytest.fixture
def mail(free_port: Any) -> Iterator[tuple[str, Mails]]:
    box = Mails()
    server = MailServer(box, hostname="127.0.0.1", port=free_port())
    server.start()
    yield f"mailto://127.0.0.1:{server.port}?from=huidu@example.org&to=oncall@example.org&mode=insecure", box
    server.stop()


class Hook:
    def __init__(self) -> None:
        self.received: list[dict[str, Any]] = []
        self.status = 200
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(outer.status)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"json://127.0.0.1:{self.server.server_port}"

    def titles(self) -> list[str]:
        return [each["title"] for each in self.received]


@pytest.fixture
def hook() -> Iterator[Hook]:
    made = Hook()
    yield made
    made.server.shutdown()
    made.server.server_close()


def drive(folder: Path, notify: str, **world: Any) -> tuple[Any, Outcome]:
    stage = make_stage(folder, PLAN + f"notify: {notify}\n")
    for name, value in world.items():
        setattr(stage.world, name, value)
    post = Post(stage.plan, "virtual", stage.journal, stage.clock, notifiers(stage.plan.notify))
    return stage, stage.controller(post=post).drive()


def test_a_rollback_is_mailed_with_its_sentence_in_chinese(tmp_path: Path, mail: tuple[str, Mails]) -> None:
    url, box = mail
    notify = f'[{{to: "{url}", events: [rolled-back], language: zh}}]'
    _, outcome = drive(tmp_path, notify, candidate_errors=0.3)
    assert outcome is Outcome.BAD
    (message,) = box.messages
    assert (
        message["subject"].endswith("virtual 已回滚") and message["to"].endswith("oncall@example.org>")
    ) or message["to"] == "oncall@example.org"
    text = message.get_body(("plain", "html")).get_content()
    assert "errors" in text and "稳定版本承接全部流量" in text


def test_a_whole_rollout_is_told_to_a_web_hook_once_each(tmp_path: Path, hook: Hook) -> None:
    stage, outcome = drive(tmp_path, f'["{hook.url}"]')
    assert outcome is Outcome.GOOD
    assert hook.titles() == ["virtual started", "virtual promoted"]
    assert "release v2 beside v1" in hook.received[0]["message"]
    told = [event.data for event in stage.journal.events() if event.kind == "told"]
    assert [each["sent"] for each in told] == [True, True]


def sent(folder: Path) -> list[tuple[str, int]]:
    letters = json.loads((folder / "report.json").read_text(encoding="utf-8"))["letters"]
    return [(each["event"], each["sent"]) for each in letters]


@pytest.mark.parametrize(("errors", "last"), [(0.0, "promoted"), (0.3, "rolled-back")])
def test_the_report_on_disk_knows_of_the_last_letter(
    tmp_path: Path, hook: Hook, errors: float, last: str
) -> None:
    stage = make_stage(tmp_path, PLAN + f'notify: ["{hook.url}"]\n')
    stage.world.candidate_errors = errors
    post = Post(stage.plan, "virtual", stage.journal, stage.clock, notifiers(stage.plan.notify))
    stage.controller(post=post, publish=lambda: publish(tmp_path, "virtual", stage.journal)).drive()
    assert sent(tmp_path) == [("started", 1), (last, 1)]
    assert (
        json.loads((tmp_path / "report.json").read_text())["letters"]
        == (report("virtual", stage.journal.events())["letters"])
    )


def test_the_report_of_a_paused_rollout_asks_nobody_twice_what_failed(
    tmp_path: Path, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []
    told = Failing(since=0, until=0, parts=(), parts_unknown="", count=0, requests=(), shapes=())

    def capture(folder: Path, state: Any, now: float) -> Failing:
        asked.append(now)
        return told.model_copy(update={"since": state.started_at, "until": now})

    monkeypatch.setattr("rollout.failing.keeping.capture", capture)
    stage = make_stage(tmp_path, PLAN + f'notify: ["{hook.url}"]\n')
    post = Post(stage.plan, "virtual", stage.journal, stage.clock, notifiers(stage.plan.notify))
    ends = stage.clock.now() + 20
    stage.controller(
        post=post,
        publish=lambda: publish(tmp_path, "virtual", stage.journal),
        stop=lambda: stage.clock.now() > ends,
    ).drive()
    assert sent(tmp_path) == [("started", 1), ("paused", 1)] and len(asked) == 1


def test_what_could_not_be_sent_is_journaled_and_sent_by_the_next_process(tmp_path: Path, hook: Hook) -> None:
    hook.status = 503
    stage, outcome = drive(tmp_path, f'["{hook.url}"]', candidate_errors=0.3)
    assert outcome is Outcome.BAD and stage.router.served.all_stable
    told = [event.data["sent"] for event in stage.journal.events() if event.kind == "told"]
    assert told and not any(told)
    hook.status = 200
    hook.received.clear()
    stage.clock.sleep(700)
    Post(stage.plan, "virtual", stage.journal, stage.clock, notifiers(stage.plan.notify)).close()
    assert "virtual ROLLED BACK" in hook.titles()
    hook.received.clear()
    stage.clock.sleep(700)
    Post(stage.plan, "virtual", stage.journal, stage.clock, notifiers(stage.plan.notify)).close()
    assert hook.titles() == []


def test_an_address_that_never_answers_keeps_nothing_from_the_others_and_holds_up_no_rollback(
    tmp_path: Path, hook: Hook, free_port: Any
) -> None:
    dead = f"json://127.0.0.1:{free_port()}"
    _, outcome = drive(tmp_path, f'["{dead}", "{hook.url}"]', candidate_errors=0.3)
    assert outcome is Outcome.BAD
    assert hook.titles() == ["virtual started", "virtual ROLLED BACK"]


def test_the_next_address_is_called_when_nobody_acknowledged(tmp_path: Path, hook: Hook) -> None:
    stage, _ = drive(tmp_path, f'[{{to: "{hook.url}", after: 10m}}]', candidate_errors=0.3)
    assert hook.titles() == []
    stage.clock.sleep(601)
    Post(stage.plan, "virtual", stage.journal, stage.clock, notifiers(stage.plan.notify)).close()
    assert hook.titles() == ["virtual ROLLED BACK"]


def test_a_test_says_which_addresses_took_it_and_never_prints_one(hook: Hook, free_port: Any) -> None:
    secret = f"json://user:only-we-know@127.0.0.1:{free_port()}"
    plan = parse_plan(PLAN + f'notify: ["{hook.url}", "{secret}"]\n', "p")
    said: list[tuple[str, bool]] = []
    assert not send_test(plan, lambda text, sent: said.append((text, sent)))
    assert [sent for _, sent in said] == [True, False]
    assert hook.titles() == ["huidu: a test"]
    assert "only-we-know" not in str(said)


def test_an_address_can_lie_in_a_file_that_nobody_else_can_read(tmp_path: Path, hook: Hook) -> None:
    path = tmp_path / "oncall"
    path.write_text(hook.url + "\n")
    path.chmod(0o600)
    plan = parse_plan(PLAN + f'notify: [{{file: "{path}"}}]\n', "p")
    assert send_test(plan, lambda text, sent: None)
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="others can read"):
        url_of(plan.notify[0], 0)
    with pytest.raises(ConfigError) as caught:
        notifiers([Address(to=hook.url), Address(to="nonsense-with-a-secret")])
    assert "address 2" in str(caught.value) and "secret" not in str(caught.value)


def test_a_letter_under_way_is_handed_over_once_and_nobody_waits_for_it(tmp_path: Path) -> None:
    handed: list[Any] = []

    class Silent:
        def tell(self, message: Any) -> None:
            handed.append(message.title)

        def deliveries(self) -> list[Any]:
            return []

    clock = SystemClock()
    with Journal.open(tmp_path / "journal.sqlite", clock) as journal:
        journal.append("started", release="v2", stable_release="v1", cohorts=["high"])
        plan = parse_plan(PLAN + 'notify: ["json://127.0.0.1:1"]\n', "p")
        post = Post(plan, "virtual", journal, clock, [Silent()])  # type: ignore[list-item]
        for _ in range(5):
            post.turn()
        assert handed == ["virtual started"]
        assert [event.kind for event in journal.events()] == ["started"]


def test_a_guard_tells_people_and_calls_the_next_address_while_nobody_acknowledges(
    tmp_path: Path, hook: Hook
) -> None:
    site = Site(tmp_path / "site")
    now = Address(to=hook.url, events=("guard-acted",))
    later = now.model_copy(update={"after": 60.0})
    site.stage.plan = site.stage.plan.model_copy(update={"notify": (now, later, later)})
    site.run(12)
    guard = site.guard()
    site.watch(guard, 105)
    assert hook.titles() == ["virtual: THE GUARD TOOK IT BACK"]
    assert not guard.done(Duty.WATCH), "it stays while an emergency is not acknowledged"
    site.watch(guard, 80)
    assert len(hook.titles()) == 3
    assert guard.done(Duty.WATCH)
    guard.close()


def test_the_report_that_a_guard_leaves_knows_of_its_letters(tmp_path: Path, hook: Hook) -> None:
    address = f'to: "{hook.url}", events: [guard-acted]'
    plan = PLAN.replace(LIMITS, UNATTENDED) + f"notify: [{{{address}}}, {{{address}, after: 60s}}]\n"
    site = Site(tmp_path / "site", plan=plan)
    site.run(12)
    guard = site.guard()
    site.watch(guard, 105)
    assert sent(site.stage.folder) == [("guard-acted", 1)]
    site.watch(guard, 80)
    assert sent(site.stage.folder) == [("guard-acted", 2)]
    guard.close()


def test_who_acknowledges_is_heard_by_the_guard(tmp_path: Path, hook: Hook) -> None:
    site = Site(tmp_path / "site")
    later = Address(to=hook.url, events=("guard-acted",), after=60.0)
    site.stage.plan = site.stage.plan.model_copy(update={"notify": (later,)})
    site.run(12)
    guard = site.guard()
    site.watch(guard, 105)
    assert guard.acted
    submit(site.stage.folder, acted(site.stage.clock, "acknowledge", ("anna", "os"), "on my way"))
    site.watch(guard, 100)
    assert hook.titles() == []
    guard.close()


@pytest.mark.parametrize(
    "spoil", [Path.unlink, lambda path: path.chmod(0o644), lambda path: path.write_text("")]
)
def test_an_address_that_was_good_at_the_start_keeps_no_guard_from_giving_customers_back(
    tmp_path: Path, hook: Hook, spoil: Any
) -> None:
    path = tmp_path / "oncall"
    path.write_text(hook.url)
    path.chmod(0o600)
    notify = (
        f'notify: [{{file: "{path}", events: [guard-acted]}}, {{to: "{hook.url}", events: [guard-acted]}}]'
    )
    site = Site(tmp_path / "site", plan=PLAN.replace(LIMITS, UNATTENDED) + notify + "\n")
    site.run(12)
    spoil(path)
    guard = site.guard()
    site.watch(guard, 105)
    assert guard.acted and site.stage.router.served.all_stable
    assert hook.titles() == ["virtual: THE GUARD TOOK IT BACK"], "the other address hears of it"
    assert sum("address 1 cannot be used" in line for line in site.stage.lines.said) == 1
    path.write_text(hook.url)
    path.chmod(0o600)
    site.watch(guard, 45)
    assert len(hook.titles()) == 2 and guard.done(Duty.WATCH), "the first one, as soon as it is good again"
    guard.close()


@pytest.mark.parametrize(
    ("link", "leads_to"),
    [
        ("", "huidu rollout status"),
        ("link: http://127.0.0.1:8765/rollouts/{name}", "http://127.0.0.1:8765/"),
    ],
)
def test_a_test_leads_to_a_page_that_is_there_before_any_rollout_is(
    hook: Hook, link: str, leads_to: str
) -> None:
    plan = parse_plan(PLAN + f'notify: ["{hook.url}"]\n{link}\n', "p")
    assert send_test(plan, lambda text, sent: None)
    assert hook.received[0]["message"].splitlines()[-1] == leads_to


def test_a_test_that_was_not_sent_says_why(free_port: Any) -> None:
    plan = parse_plan(PLAN + f'notify: ["json://127.0.0.1:{free_port()}"]\n', "p")
    said: list[str] = []
    assert not send_test(plan, lambda text, sent: said.append(text))
    assert said == ["address 1 (json): NOT sent: it was refused, or the service is not reached"]
