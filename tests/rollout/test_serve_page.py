"""The page as a browser gets it: a real server, as a process, on journals that are being written."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from html.parser import HTMLParser

import pytest
import requests

from huidu.foundation.clock import SystemClock
from huidu.foundation.journal import Journal

NAMES = {"promoted": "good-1", "rolled back": "errors-1", "paused": "half-1"}


@pytest.fixture
def home(tmp_path, staged):
    folder = tmp_path / "home"
    for name, errors, until in (("good-1", 0, None), ("errors-1", 0.3, None), ("half-1", 0, 12)):
        stage = staged("name: virtual", "name: virtual")
        stage.world.candidate_errors = errors
        end = 1_700_000_000 + until if until else float("inf")
        stage.controller(stop=lambda end=end, stage=stage: stage.clock.now() > end).drive()
        stage.journal.close()
        shutil.copytree(stage.folder, folder / "rollouts" / name)
    return folder


@pytest.fixture
def page(home):
    """The address of a server that was started as a user would."""
    environment = {**os.environ, "HUIDU_HOME": str(home), "PYTHONSAFEPATH": "1"}
    command = [sys.executable, "-m", "huidu.cli", "rollout", "serve"]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        first = process.stderr.readline()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\n", first), first
        yield first.strip().rstrip("/")
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        finally:
            process.stderr.close()
    assert process.returncode == 0


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


def test_nothing_can_be_changed(page):
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


def test_what_is_journaled_arrives_by_itself(page, home):
    with stream(f"{page}/stream/half-1?lang=en") as events:
        assert "Nothing, until somebody runs it again" in next(events)["html"]
        began = time.monotonic()
        with Journal.open(home / "rollouts" / "half-1" / "journal.sqlite", SystemClock()) as journal:
            journal.append("resumed")
            news = next(event for event in events if "resumed" in event["said"])
            assert time.monotonic() - began < 4
            assert "running" in news["html"]


def test_a_controller_that_is_killed_is_told_within_seconds(page, home):
    path = home / "rollouts" / "half-1" / "journal.sqlite"
    code = (
        "import sys, time; from pathlib import Path; from huidu.foundation.clock import SystemClock as C;"
        "from huidu.foundation.journal import Journal; j = Journal.open(Path(sys.argv[1]), C());"
        "j.append('resumed'); print('up', flush=True); time.sleep(60)"
    )
    controller = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert controller.stdout.readline() == "up\n"
        with stream(f"{page}/stream/half-1?lang=en") as events:
            assert "No process drives" not in next(events)["html"]
            controller.kill()
            controller.wait(5)
            assert "No process drives" in next(e["html"] for e in events if "unattended" in e["html"])
    finally:
        controller.kill()
        controller.wait(5)
        controller.stdout.close()
