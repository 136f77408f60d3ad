"""The page as a browser gets it: a real server, as a process, on journals that are being written."""

from __future__ import annotations

import contextlib
import json
import shutil
import stat
import subprocess
import sys
import threading
import time
from html.parser import HTMLParser

import pytest
import requests

from huidu.foundation.clock import SystemClock
from huidu.foundation.journal import Journal
from tests.rollout.pages import PAUSED, PROMOTED, ROLLED_BACK, drive_three, serving

NAMES = {"promoted": PROMOTED, "rolled back": ROLLED_BACK, "paused": PAUSED}


pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """One workspace and one server for all of these tests; those that change something copy a rollout."""
    with contextlib.ExitStack() as stack:
        yield {"home": tmp_path_factory.mktemp("home"), "stack": stack}


@pytest.fixture
def page(kept, staged):
    """The address of a server that was started as a user would."""
    if "address" not in kept:
        drive_three(kept["home"], staged)
        kept["address"] = kept["stack"].enter_context(serving(kept["home"]))
    return kept["address"]


@pytest.fixture
def home(page, kept):
    """Its workspace."""
    return kept["home"]


@pytest.fixture
def half(page, home, request):
    """The name of a paused rollout of this test's own."""
    name = f"half-{request.node.name[-40:]}"
    shutil.copytree(home / "rollouts" / "half-1", home / "rollouts" / name)
    deadline = time.monotonic() + 10
    while get(f"{page}/rollouts/{name}").status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return name


def get(address, **options):
    return requests.get(address, timeout=10, **options)


class Tags(HTMLParser):
    """Tags that are not closed in order, inline styles and scripts, ids, references from aria attributes."""

    VOID = frozenset({"meta", "link", "br", "img", "input", "hr"})

    def __init__(self, text):
        super().__init__()
        self.open, self.wrong, self.ids, self.named = [], [], [], []
        self.feed(text)
        self.wrong += [f"never closed: {tag}" for tag in self.open]

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        if tag not in self.VOID:
            self.open.append(tag)
        if "style" in found or tag == "style" or any(name.startswith("on") for name in found):
            self.wrong.append(f"inline in {tag}: the policy forbids it")
        if tag == "script" and not found.get("src", "").startswith("/static/"):
            self.wrong.append("a script from elsewhere")
        if tag == "svg" and not ({"aria-hidden", "aria-label"} & found.keys()):
            self.wrong.append("a drawing without words")
        self.ids += [found["id"]] if "id" in found else []
        self.named += [found["aria-labelledby"]] if "aria-labelledby" in found else []

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"closed out of order: {tag}")


def test_every_page_in_both_languages(page):
    for language, outcomes in (
        ("en", ("promoted", "rolled back", "paused")),
        ("zh", ("已全量发布", "已回滚", "已暂停")),
    ):
        texts = [get(f"{page}/?lang={language}").text]
        texts += [get(f"{page}/rollouts/{name}?lang={language}").text for name in NAMES.values()]
        texts.append(get(f"{page}/history?lang={language}").text)
        for word, text in zip(outcomes, texts[1:4], strict=True):
            assert word in texts[0] and word in text
        for text in texts:
            tags = Tags(text)
            assert not tags.wrong
            assert len(tags.ids) == len(set(tags.ids)) and set(tags.named) <= set(tags.ids)
            assert f'<html lang="{"zh-Hans" if language == "zh" else "en"}">' in text
        assert ("候选" in texts[2]) is (language == "zh")


def test_the_browser_s_language_is_spoken_unless_asked_otherwise(page):
    chinese = {"accept-language": "fr, zh-CN;q=0.9, en;q=0.8"}
    assert "灰度发布" in get(f"{page}/", headers=chinese).text
    assert "灰度发布" not in get(f"{page}/?lang=en", headers=chinese).text


def test_a_rolled_back_rollout_tells_gate_counts_and_sentence(page, home):
    text = get(f"{page}/rollouts/errors-1?lang=en").text
    facts = get(f"{page}/rollouts/errors-1/report.json").json()
    gate = facts["timeline"][-1]["gates"]["errors"]
    assert facts["outcome"] == "rolled-back" and facts["sentence"].split(";")[0] in text
    assert f"{gate['canary']['bad']:,.0f} / {gate['canary']['total']:,.0f}" in text


def test_a_foreign_host_header_is_refused(page):
    port = page.rsplit(":", 1)[1]
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1", f"127.0.0.1.evil.example:{port}"):
        answer = get(f"{page}/", headers={"host": host})
        assert answer.status_code == 421 and "rollout" not in answer.text.lower()
    assert get(f"{page}/", headers={"host": f"localhost:{port}"}).status_code == 200


def test_every_answer_carries_the_policy(page):
    for path in (
        "/",
        "/nothing",
        "/static/page.css",
        "/static/page.js",
        "/rollouts/x",
        "/rollouts/good-1/report.json",
    ):
        headers = get(page + path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff" and headers["x-frame-options"] == "DENY"


def test_nothing_but_abort_takes_more_than_a_look(page):
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        for path in ("/", "/rollouts/good-1", "/stream"):
            assert requests.request(method, page + path, timeout=10).status_code == 405


def test_unknown_names_and_paths_out_of_the_folder_are_nothing(page):
    for path in (
        "/rollouts/v9",
        "/rollouts/..%2f..%2fetc",
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/stream/v9",
    ):
        assert get(page + path).status_code == 404


def test_a_hostile_name_and_sentence_stay_text(page, home):
    folder = home / "rollouts" / "<img src=x onerror=alert(1)>"
    shutil.copytree(home / "rollouts" / "half-1", folder)
    with Journal.open(folder / "journal.sqlite", SystemClock()) as journal:
        journal.append("held", sentence="</p><script>alert(1)</script>")
    time.sleep(0.5)  # files are looked at again after 0.4 s
    for path in ("/", "/rollouts/%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E"):
        text = get(page + path).text
        assert "alert(1)" in text and "<script>alert" not in text and "<img" not in text


@contextlib.contextmanager
def stream(address):
    with requests.get(address, stream=True, timeout=10) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")

        def events():
            for line in answer.iter_lines(chunk_size=1, decode_unicode=True):
                if line.startswith("data: "):
                    yield json.loads(line[6:])

        yield events()


def test_what_is_journaled_arrives_by_itself(page, home, half):
    with stream(f"{page}/stream/{half}?lang=en") as events:
        assert "Nothing, until somebody runs it again" in next(events)["html"]
        began = time.monotonic()
        with Journal.open(home / "rollouts" / half / "journal.sqlite", SystemClock()) as journal:
            journal.append("resumed")
            news = next(event for event in events if "resumed" in event["said"])
            assert time.monotonic() - began < 30
            assert "running" in news["html"]


def test_a_controller_that_is_killed_is_told_within_seconds(page, home, half):
    path = home / "rollouts" / half / "journal.sqlite"
    code = (
        "import sys, time; from pathlib import Path; from huidu.foundation.clock import SystemClock as C;"
        "from huidu.foundation.journal import Journal; j = Journal.open(Path(sys.argv[1]), C());"
        "j.append('resumed'); print('up', flush=True); time.sleep(60)"
    )
    controller = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert controller.stdout.readline() == "up\n"
        with stream(f"{page}/stream/{half}?lang=en") as events:
            assert "No process drives" not in next(events)["html"]
            controller.kill()
            controller.wait(5)
            assert "No process drives" in next(e["html"] for e in events if "unattended" in e["html"])
    finally:
        controller.kill()
        controller.wait(5)
        controller.stdout.close()


def post(page, name, **changed):
    form = {"why": "smells", "token": "x"} | {
        key: value for key, value in changed.items() if key != "headers"
    }
    headers = {"origin": page} | changed.get("headers", {})
    address = f"{page}/rollouts/{name}/abort?lang=en"
    return requests.post(address, data=form, headers=headers, timeout=30, allow_redirects=False)


def test_aborting_needs_the_token_and_the_page_s_own_form(page, home, half):
    file = home / "secrets" / "page.token"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    token = file.read_text().strip()
    for answer in (
        post(page, half),
        post(page, half, token=""),
        post(page, half, token=token, headers={"origin": "http://evil.example"}),
        post(page, half, token=token, headers={"origin": "null"}),
        post(page, half, token=token, headers={"origin": None}),
    ):
        assert answer.status_code == 403
    assert post(page, half, token=token, why="x" * 9000).status_code == 413
    assert requests.get(f"{page}/rollouts/{half}/abort?token={token}&why=x", timeout=10).status_code == 200
    assert token not in requests.get(f"{page}/rollouts/{half}/abort", timeout=10).text
    assert not (home / "rollouts" / half / "abort").exists()
    kinds = [event["decision"] for event in get(f"{page}/rollouts/{half}/report.json").json()["timeline"]]
    assert kinds[-1] == "paused"


def test_an_abort_reaches_the_controller_that_drives_the_rollout(page, home, half):
    folder, answers = home / "rollouts" / half, []
    token = (home / "secrets" / "page.token").read_text().strip()
    with Journal.open(folder / "journal.sqlite", SystemClock()) as journal:
        journal.append("resumed")
        asking = threading.Thread(target=lambda: answers.append(post(page, half, token=token)))
        asking.start()
        deadline = time.monotonic() + 15
        while not (folder / "abort").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert (folder / "abort").read_text() == "smells (from the page)"
        journal.append("ended", outcome="retreated", sentence="aborted by a person", blamed=None)
        asking.join(20)
    assert answers[0].status_code == 303 and answers[0].headers["location"] == f"/rollouts/{half}?lang=en"
    assert "retreated" in get(f"{page}/rollouts/{half}?lang=en").text


def say(page, name, kind, **changed):
    form = {"why": "smells", "token": "x", "stage": ""} | {k: v for k, v in changed.items() if k != "origin"}
    address = f"{page}/rollouts/{name}/act/{kind}?lang=en"
    headers = {"origin": changed.get("origin", page)}
    return requests.post(address, data=form, headers=headers, timeout=30, allow_redirects=False)


def test_what_people_say_needs_the_token_and_the_page_s_own_form_too(page, home, half):
    token = (home / "secrets" / "page.token").read_text().strip()
    for kind in ("pause", "promote-now", "acknowledge"):
        assert say(page, half, kind).status_code == 403
        assert say(page, half, kind, token="").status_code == 403
        assert say(page, half, kind, token=token, origin="http://evil.example").status_code == 403
        assert token not in get(f"{page}/rollouts/{half}/act/{kind}?lang=en").text
    assert say(page, half, "nonsense", token=token).status_code == 404
    assert say(page, half, "pause", token=token, why=" ").status_code == 409  # no reason
    assert not (home / "rollouts" / half / "acts.jsonl").exists()


def test_what_is_said_while_no_controller_runs_is_kept_and_the_page_says_so(page, home, half):
    token = (home / "secrets" / "page.token").read_text().strip()
    answer = say(page, half, "pause", token=token)
    assert answer.status_code == 303
    assert "No controller has answered yet" in get(page + answer.headers["location"]).text
    # In the other language, and in what the live page is replaced with, it stands as well.
    assert "暂停放量（smells）。已写入，尚无控制进程答复" in get(f"{page}/rollouts/{half}?lang=zh").text
    with stream(f"{page}/stream/{half}?lang=en") as events:
        assert "Pause widening (smells). It is written down." in next(events)["html"]
    (line,) = (home / "rollouts" / half / "acts.jsonl").read_text().splitlines()
    assert json.loads(line)["why"] == "smells" and json.loads(line)["proof"] == "os"


def test_a_reason_is_one_line_that_can_be_printed(page, home, half):
    token = (home / "secrets" / "page.token").read_text().strip()
    say(page, half, "pause", token=token, why="a\n b\x1b[31m\u202eevil\x00 与 ‘c’")
    (line,) = (home / "rollouts" / half / "acts.jsonl").read_text().splitlines()
    assert json.loads(line)["why"] == "a b [31m evil 与 ‘c’"


def test_what_is_over_cannot_be_aborted(page, home):
    token = (home / "secrets" / "page.token").read_text().strip()
    answer = post(page, "good-1", token=token)
    assert answer.status_code == 409 and "is over (promoted)" in answer.text


def test_what_is_over_takes_no_acts_any_more(page, home):
    token = (home / "secrets" / "page.token").read_text().strip()
    for kind in ("pause", "resume", "promote-now", "adopt"):
        answer = say(page, PROMOTED, kind, token=token)
        assert answer.status_code == 409 and "is over (promoted)" in answer.text
    assert say(page, PROMOTED, "acknowledge", token=token).status_code == 303  # an emergency may outlive it
    (line,) = (home / "rollouts" / PROMOTED / "acts.jsonl").read_text().splitlines()
    assert json.loads(line)["kind"] == "acknowledge"


def test_an_approval_without_the_form_s_hidden_field_is_of_the_stage_that_waits(page, home, staged):
    everybody = "{name: everybody, weights: {all: 100%}"
    stage = staged(everybody, everybody + ", approval: {needed: 1}")
    stage.controller(stop=lambda: stage.clock.now() > 1_700_000_012).drive()
    stage.journal.close()
    folder = shutil.copytree(stage.folder, home / "rollouts" / "four-eyes")
    time.sleep(0.5)  # files are looked at again after 0.4 s
    token = (home / "secrets" / "page.token").read_text().strip()
    assert say(page, "four-eyes", "approve", token=token).status_code == 303
    (line,) = (folder / "acts.jsonl").read_text().splitlines()
    assert json.loads(line)["stage"] == "everybody"
