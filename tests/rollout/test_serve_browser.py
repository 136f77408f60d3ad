"""The page in a real browser: what a person does with it, what a screen reader would find, wide and narrow.

HUIDU_PICTURES=FOLDER keeps screenshots of every page, in both languages and widths.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import shutil
import threading
import time
from pathlib import Path

import pytest

from huidu.foundation.clock import SystemClock
from huidu.foundation.journal import Journal
from rollout import acts
from rollout.controller.run import Controller
from rollout.folder import asked_to_abort
from rollout.people import new_token
from tests.rollout.pages import drive_three, serving

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium: apt-get install chromium"),
]
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 360, "height": 740}


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        # As root (in a container) Chromium's sandbox does not start.
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        opened = started.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """One workspace and one server for all of these tests."""
    with contextlib.ExitStack() as stack:
        yield {"home": tmp_path_factory.mktemp("home"), "stack": stack}


@pytest.fixture
def page(kept, staged, browser):
    """Makes a page of the given size; the server runs on three rollouts and an observation."""
    home = kept["home"]
    if "address" not in kept:
        drive_three(home, staged)
        _observation(home)
        kept["address"] = kept["stack"].enter_context(serving(home))
    contexts = []

    def make(size=WIDE, **options):
        contexts.append(browser.new_context(viewport=size, base_url=kept["address"], **options))
        opened = contexts[-1].new_page()
        opened.set_default_timeout(15_000)
        opened.problems = []
        opened.on("pageerror", lambda error: opened.problems.append(str(error)))
        opened.on("console", lambda m: opened.problems.append(m.text) if m.type == "error" else None)
        return opened

    yield make
    for context in contexts:
        context.close()


def _observation(home):
    """As `huidu rollout observe` leaves it: copied events, and two of its own."""
    with Journal.open(home / "rollouts" / "half-1" / "journal.sqlite", SystemClock(), writer=False) as source:
        events = [each for each in source.events() if each.kind in ("started", "judging", "judged")]
    with Journal.open(home / "observations" / "watched" / "journal.sqlite", SystemClock()) as journal:
        for event in events:
            data = {**event.data, "mode": "observed"} if event.kind == "started" else event.data
            journal.append(event.kind, **data)
        shares = {"high": 0.1, "standard": 0.1}
        journal.append("shifted", share=0.1, before=0, shares=shares, since=1.0, borne=0.02, ahead=True)
        journal.append("would", act="rollback", share=0, at=0.1, sentence="errors", blamed="errors", shift=1)


@pytest.fixture
def controller(kept, request):
    """A paused rollout of this test's own whose journal a controller holds: it grants what people say."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name)[:50].strip("-")
    folder = kept["home"] / "rollouts" / name
    ended, started = threading.Event(), []

    def drive(refused):
        shutil.copytree(kept["home"] / "rollouts" / "half-1", folder)
        place = 0
        with Journal.open(folder / "journal.sqlite", SystemClock()) as journal:
            journal.append("resumed")
            while not ended.wait(0.1):
                for each in acts.read(folder, place):
                    place, said = each.end, each.act
                    text = f"{said.kind} by {said.by} is refused: so says the plan" if refused else said.why
                    data = {"act": said.kind, "by": said.by, "why": said.why, "stage": said.stage}
                    journal.append("act", accepted=not refused, sentence=text, end=place, **data)
                if (folder / "abort").exists():
                    why = (folder / "abort").read_text()
                    journal.append("ended", outcome="retreated", sentence=f"aborted: {why}", blamed=None)
                    return

    def start(refuses=False):
        started.append(threading.Thread(target=drive, args=(refuses,)))
        started[0].start()
        return name

    yield start
    ended.set()
    for each in started:
        each.join(10)


def token(kept):
    return (kept["home"] / "secrets" / "page.token").read_text().strip()


def there(opened, name):
    """Until the page knows the rollout."""
    deadline = time.monotonic() + 15
    while opened.goto(f"/rollouts/{name}?lang=en").status != 200:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    opened.problems.clear()  # the browser notes a 404 itself


def checked(opened, what):
    """Nothing that axe finds, no script that failed, nothing wider than the screen."""
    found = axe.Axe().run(opened).response["violations"]
    told = [(each["id"], [node["html"][:120] for node in each["nodes"][:3]]) for each in found]
    assert not told, f"{what}: {json.dumps(told, indent=1, ensure_ascii=False)}"
    assert not opened.problems, f"{what}: {opened.problems}"
    width = opened.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert width <= 0, f"{what} is {width} px wider than the screen"


PAGES = {
    "home": "/",
    "promoted": "/rollouts/good-1",
    "rolled back": "/rollouts/errors-1",
    "paused": "/rollouts/half-1",
    "observed": "/observed/watched",
    "history": "/history",
    "abort": "/rollouts/half-1/abort",
    "pause": "/rollouts/half-1/act/pause",
    "not found": "/rollouts/none",
}


@pytest.mark.parametrize(
    ("language", "size", "scheme"),
    [("en", WIDE, "light"), ("en", NARROW, "dark"), ("zh", NARROW, "light"), ("zh", WIDE, "dark")],
)
def test_axe_finds_nothing_on_any_page(page, controller, language, size, scheme):
    word = "wide" if size is WIDE else "narrow"
    opened = page(size, color_scheme=scheme)
    running = controller()
    there(opened, running)
    for name, path in {**PAGES, "running": f"/rollouts/{running}"}.items():
        opened.goto(f"{path}?lang={language}")
        if name == "not found":
            opened.problems.clear()  # the browser notes the 404 itself
        checked(opened, f"{name}, {language}, {word}, {scheme}")
        if folder := os.environ.get("HUIDU_PICTURES"):
            file = f"{name.replace(' ', '-')}-{language}-{word}-{scheme}.png"
            opened.screenshot(path=Path(folder) / file, full_page=True)


LONGEST = """() => {
  for (const each of document.querySelectorAll(".within")) each.textContent = "between < 0.001 % and 6.4 %";
  for (const each of document.querySelectorAll("tbody th a")) each.textContent = "n".repeat(63);
  const screen = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= screen) return [];
  const all = [...document.querySelectorAll("main *")];
  const wide = all.filter((each) => each.scrollWidth > screen - each.offsetLeft);
  return ["wider than the screen", ...wide.map((each) => `${each.tagName} ${each.textContent.slice(0, 60)}`)];
}"""


def test_the_longest_numbers_and_names_fit_every_width(page):
    """At once after they are put there: the live part is replaced every few seconds."""
    opened = page(NARROW)
    for path in ("/rollouts/half-1", "/rollouts/errors-1", "/history"):
        for width in (320, 600, 719, 721, 768, 959, 961, 1024):
            opened.set_viewport_size({"width": width, "height": 740})
            opened.goto(f"{path}?lang=en")
            assert opened.evaluate(LONGEST) == [], f"{path} at {width}"
    assert not opened.problems


def test_a_person_pauses_by_keyboard_and_reads_it_in_the_page(page, controller, kept):
    opened = page()
    opened.goto("/")
    name = controller()
    there(opened, name)
    opened.get_by_role("link", name="Pause …").focus()
    opened.keyboard.press("Enter")
    opened.wait_for_url("**/act/pause**")
    opened.get_by_label("Why").focus()
    opened.keyboard.type("the night shift is alone")
    opened.keyboard.press("Tab")
    opened.keyboard.type(token(kept))
    opened.keyboard.press("Enter")
    opened.wait_for_url(f"**/rollouts/{name}?lang=en")
    turn = opened.locator("ol.turns li").first
    assert "paused by a person" in turn.inner_text() and "the night shift is alone" in turn.inner_text()
    checked(opened, "after pausing")


def test_a_person_aborts_and_the_live_page_of_another_tells_it(page, controller, kept):
    opened, other = page(), page(NARROW)
    opened.goto("/")
    name = controller()
    there(other, name)
    there(opened, name)
    opened.get_by_role("link", name="Abort …").click()
    opened.get_by_label("Why").fill("smells")
    opened.get_by_label("Your token").fill("not the token, sorry")
    opened.get_by_role("button", name="Give everybody back to stable").click()
    assert "nobody's token" in opened.get_by_role("alert").inner_text()
    assert opened.get_by_label("Why").input_value() == "smells"
    opened.problems.clear()  # the browser notes the 403 itself
    checked(opened, "a wrong token")
    opened.get_by_label("Your token").fill(token(kept))
    opened.get_by_role("button", name="Give everybody back to stable").click()
    opened.wait_for_url(f"**/rollouts/{name}?lang=en")
    assert "retreated" in opened.locator("h1").inner_text()
    other.locator("h1 .chip.retreated").wait_for()  # by server-sent events alone
    assert "over" in other.locator("#said").inner_text()  # and told to screen readers


def test_what_the_controller_refuses_is_said_with_its_reason(page, controller, kept):
    opened = page()
    opened.goto("/")
    name = controller(refuses=True)
    there(opened, name)
    opened.get_by_role("link", name="Promote now …").click()
    opened.get_by_label("Why").fill("friday")
    opened.get_by_label("Your token").fill(token(kept))
    opened.get_by_role("button", name="Promote without waiting").click()
    assert "refused: so says the plan" in opened.get_by_role("alert").inner_text()


STAGES = "  - {name: half, weights: {all: 50%}}\n  - {name: everybody, weights: {all: 100%}}\n"
FOUR_EYES = """  - {{name: half, weights: {{all: 50%}}, approval: {{needed: 2, roles: [managers]}}}}
  - {{name: everybody, weights: {{all: 100%}}}}
people:
  tokens: {tokens}
  roles: {{managers: [mei, jonas]}}
  may: {{promote-now: [managers], adopt: [managers]}}
notify: ['json://127.0.0.1:1/']
"""


@pytest.fixture
def driven(kept, staged, tmp_path):
    """A rollout that a real controller drives, whose second stage waits for two people: its stage, with the
    router and the world; its name; {person: token}."""
    file, tokens = tmp_path / "tokens", {}
    for person in ("mei", "jonas", "guest"):
        new_token(file, person, tmp_path / person)
        tokens[person] = (tmp_path / person).read_text().strip()
    stage = staged(STAGES, FOUR_EYES.format(tokens=file))
    started = next(iter(stage.journal.events())).data
    ended, name = threading.Event(), f"driven-{tmp_path.name[-40:]}"
    folder, clock = kept["home"] / "rollouts" / name, SystemClock()

    def drive():
        with Journal.open(folder / "journal.sqlite", clock) as journal:
            journal.append("started", **started)
            edge = dataclasses.replace(
                stage.edge(),
                journal=journal,
                clock=clock,
                folder=folder,
                acts=lambda after: acts.read(folder, after),
                abort=lambda: asked_to_abort(folder),
                stop=ended.is_set,
            )
            Controller(name, stage.plan, stage.ladder, edge).drive()

    thread = threading.Thread(target=drive)
    thread.start()
    yield stage, name, tokens
    ended.set()
    thread.join(20)


def act(opened, link, button, why, token):
    """Open the confirmation, fill it, press the button."""
    opened.get_by_role("link", name=link).click()
    opened.get_by_label("Why").fill(why)
    opened.get_by_label("Your token").fill(token)
    opened.get_by_role("button", name=button).click()


def test_four_eyes_open_a_stage_of_a_real_rollout_and_a_guest_does_not(page, driven):
    _, name, tokens = driven
    opened = page()
    opened.goto("/")
    there(opened, name)
    opened.get_by_text("waits for 2 of 2 approvals (managers)").first.wait_for(timeout=30_000)
    checked(opened, "waiting for people")
    act(opened, "Approve “half”", "Approve", "looks fine", tokens["guest"])
    assert "approved by: managers" in opened.get_by_role("alert").inner_text()
    opened.goto(f"/rollouts/{name}?lang=en")
    act(opened, "Approve “half”", "Approve", "graphs are flat", tokens["mei"])
    opened.wait_for_url(f"**/rollouts/{name}?lang=en")
    act(opened, "Approve “half”", "Approve", "and again", tokens["mei"])
    assert "the same person approved it already" in opened.get_by_role("alert").inner_text()
    opened.goto(f"/rollouts/{name}?lang=zh")
    opened.get_by_role("link", name="批准“一半”……").click()
    opened.get_by_label("原因").fill("同意")
    opened.get_by_label("您的令牌").fill(tokens["jonas"])
    opened.get_by_role("button", name="批准").click()
    opened.wait_for_url(f"**/rollouts/{name}?lang=zh")
    assert "jonas 批准进入“一半”：同意" in opened.locator("ol.turns").inner_text()
    opened.locator("ol.turns .widen").nth(1).wait_for()  # it goes on
    act_zh = opened.get_by_role("link", name="中止……")
    act_zh.click()
    opened.get_by_label("原因").fill("够了")
    opened.get_by_label("您的令牌").fill(tokens["guest"])  # going back is everybody's
    opened.get_by_role("button", name="全部退回稳定版本").click()
    opened.wait_for_url(f"**/rollouts/{name}?lang=zh")
    assert "已撤回" in opened.locator("h1").inner_text()
    assert "guest" in opened.locator(".said").inner_text()


def test_weights_that_somebody_else_gave_are_adopted_by_whom_the_plan_allows(page, driven):
    stage, name, tokens = driven
    opened = page(NARROW)
    opened.goto("/")
    there(opened, name)
    opened.locator("ol.turns .widen").first.wait_for(timeout=30_000)
    assert not opened.get_by_role("link", name="Adopt these weights").count()
    stage.router.served = dataclasses.replace(
        stage.router.served, weights={"high": 2000, "standard": 0}, version="by hand"
    )
    opened.get_by_role("link", name="Adopt these weights").wait_for(timeout=30_000)  # without a reload
    assert "Nothing widens: memory serves high 20 %" in opened.locator(".warn.box").inner_text()
    assert "until a person adopts" in opened.locator(".next").inner_text()
    checked(opened, "moved by somebody else")
    other = page()
    other.goto("/?lang=en")
    assert "Somebody else moved the weights" in other.locator(".needs li", has_text=name).inner_text()
    checked(other, "somebody is needed")
    playwright.expect(other).to_have_title(re.compile(r"^\("), timeout=15_000)  # so does a tab among many
    card = other.locator(".card", has_text=name).get_by_role("link")
    card.focus()
    other.evaluate("document.querySelector('#live > section').dataset.before = ''")
    other.locator("#live > [data-before]").wait_for(state="detached")  # it was sent again
    assert card.evaluate("link => link === document.activeElement")
    act(opened, "Adopt these weights", "Go on from what is served", "let me", tokens["guest"])
    assert "managers" in opened.get_by_role("alert").inner_text()
    opened.problems.clear()  # the browser notes the 403 itself
    checked(opened, "not theirs to do")
    opened.get_by_label("Why").fill("the vendor moved it, and it is well")
    opened.get_by_label("Your token").fill(tokens["mei"])
    opened.get_by_role("button", name="Go on from what is served").click()
    opened.wait_for_url(f"**/rollouts/{name}?lang=en")
    opened.locator(".cohorts").get_by_text("20 %").wait_for()
    assert "the vendor moved it" in opened.locator("ol.turns .adopt").inner_text()
    opened.goto(f"/rollouts/{name}?lang=zh")
    assert "mei 采用代理现有的权重并继续" in opened.locator("ol.turns .adopt").inner_text()
    assert not opened.locator(".warn.box").count()


def test_an_emergency_is_acknowledged_after_the_release_went_back(page, driven, kept):
    stage, name, tokens = driven
    stage.world.candidate_errors = 0.5
    opened = page()
    opened.goto("/")
    there(opened, name)
    opened.locator("h1 .chip.rolled-back").wait_for(timeout=30_000)
    alarm = opened.locator(".wrong.box")
    alarm.wait_for()
    assert "nobody has acknowledged: rolled back; told at 0 of 1 addresses" in alarm.inner_text()
    checked(opened, "an emergency")
    act(opened, "Acknowledge", "I take care of it", "on my way", tokens["guest"])
    opened.wait_for_url(f"**/rollouts/{name}?lang=en")
    opened.locator("h1").wait_for()
    assert not opened.locator(".wrong.box").count() and not opened.locator(".acts").count()
    assert "acknowledged" in opened.locator("section", has_text="Who was told").inner_text()


def test_the_keyboard_reaches_everything_and_shows_where_it_is(page):
    opened = page()
    opened.goto("/rollouts/half-1?lang=en")
    reached = []
    for _ in range(40):
        opened.keyboard.press("Tab")
        spot = opened.evaluate(
            "(() => { const e = document.activeElement; const s = getComputedStyle(e);"
            " return [e.tagName, (e.innerText || e.getAttribute('aria-label') || '').trim(),"
            " s.outlineStyle !== 'none' || s.position === 'absolute']; })()"
        )
        reached.append(spot)
    words = " | ".join(text for _, text, _ in reached)
    for word in ("To the content", "History", "中文", "Abort", "report.json"):
        assert word in words, word
    assert all(shown for tag, _, shown in reached if tag != "BODY")


def test_without_scripts_the_same_is_told(page):
    opened = page(java_script_enabled=False)
    opened.goto("/rollouts/errors-1?lang=en")
    assert "rolled back" in opened.locator("h1").inner_text()
    assert opened.locator("svg.curves").count() >= 2


def test_reading_a_curve_with_the_pointer(page):
    opened = page()
    opened.goto("/rollouts/errors-1?lang=en")
    opened.locator("#live[data-followed]").wait_for()  # the live part was replaced once
    box = opened.locator(".plot").first.bounding_box()
    opened.mouse.move(box["x"] + box["width"] / 2, box["y"] + 10)
    opened.locator(".tip:not([hidden])").wait_for()
    assert "%" in opened.locator(".tip").inner_text()
