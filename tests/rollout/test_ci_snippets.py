"""docs/ci.md: every snippet is taken out of the page and run as its CI system would run it."""

from __future__ import annotations

import datetime
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
import time
import xml.etree.ElementTree as ET
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs" / "ci.md"


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.S | re.M)


def scripts():
    github, gitlab = (yaml.safe_load(block) for block in blocks("yaml"))
    runs = [step["run"] for job in github["jobs"].values() for step in job["steps"] if "run" in step]
    (groovy,) = blocks("groovy")
    (jenkins,) = re.findall(r"script: '''\n(.*?)'''", groovy, re.S)
    return {
        "GitHub Actions": "\n".join(runs),  # run with bash -e
        "GitLab CI": "\n".join(gitlab["gate"]["script"]),  # run line by line until one fails
        "Jenkins": textwrap.dedent(jenkins),
    }


@pytest.fixture
def home(tmp_path, staged):
    def make(errors=0.0, until=None):
        stage = staged("name: virtual", "name: virtual")
        stage.world.candidate_errors = errors
        stop = (lambda: stage.clock.now() > 1_700_000_000 + until) if until else (lambda: False)
        stage.controller(stop=stop).drive()
        stage.journal.close()
        folder = tmp_path / "home"
        shutil.copytree(stage.folder, folder / "rollouts" / "v2")
        (folder / "load" / "r1").mkdir(parents=True)
        started = datetime.datetime.now(datetime.UTC).isoformat()
        verdict = {"verdict": "PASS", "reasons": ["all kept"], "checks": [], "started": started}
        (folder / "load" / "r1" / "verdict.json").write_text(json.dumps(verdict))
        (folder / "load" / "latest").write_text("r1\n")
        return folder

    return make


def run(script, home, folder):
    bin_ = Path(sys.executable).parent
    environment = {
        **os.environ,
        "PATH": f"{bin_}:{os.environ['PATH']}",
        "HUIDU_HOME": str(home),
        "RELEASE": "v2",
    }
    return subprocess.run(
        ["bash", "-e", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("system", ["GitHub Actions", "GitLab CI", "Jenkins"])
@pytest.mark.parametrize(("errors", "until", "code"), [(0.0, None, 0), (0.3, None, 1), (0.0, 12, 3)])
def test_the_snippet_ends_as_the_rollout_did(system, errors, until, code, home, tmp_path):
    ended = run(scripts()[system], home(errors, until), tmp_path)
    assert ended.returncode == code, ended.stderr
    suite = ET.parse(tmp_path / "reports" / "rollout.xml").getroot().find("testsuite")
    assert suite.attrib["name"] == "huidu rollout v2"
    assert ET.parse(tmp_path / "reports" / "load.xml").getroot().attrib["failures"] == "0"


def test_a_load_proof_that_failed_stops_it_before_the_rollout_is_asked_for(home, tmp_path):
    folder = home()
    file = folder / "load" / "r1" / "verdict.json"
    file.write_text(file.read_text().replace("PASS", "FAIL"))
    for script in scripts().values():
        assert run(script, folder, tmp_path).returncode == 1
        assert not (tmp_path / "reports" / "rollout.xml").exists()


def test_a_pipeline_that_asks_for_the_rollout_waits_for_its_end(home, tmp_path):
    (script,) = blocks("sh")
    folder, kept = home(errors=0.3), tmp_path / "driven"
    (folder / "rollouts").rename(kept)
    asked = folder / "requests" / "v2.json"
    with ThreadPoolExecutor() as pool:
        running = pool.submit(run, script, folder, tmp_path)
        while not asked.exists() and not running.done():
            time.sleep(0.05)
        kept.rename(folder / "rollouts")  # whoever serves has driven it, while the gate waits
        ended = running.result()
    assert ended.returncode == 1, ended.stderr
    request = json.loads(asked.read_text())
    assert (request["plan"], request["release"], request["state"]) == ("production", "v2", "asked")


def test_every_other_command_of_the_page_exists():
    """Options that a person would copy: each is known to the command it is given to."""
    import click

    from huidu.cli import huidu

    text = re.sub(r"```.*?```", "", PAGE.read_text(encoding="utf-8"), flags=re.S)
    lines = re.findall(r"^    .*?\bhuidu ((?:gate|journal|rollout) .*)$", text, re.M)
    assert len(lines) >= 4
    for line in lines:
        words, command = line.split(), huidu
        with click.Context(huidu) as context:
            while isinstance(command, click.Group):
                command = command.get_command(context, words.pop(0))
        known = {option for each in command.params for option in each.opts}
        assert {word.strip("[]") for word in words if word.strip("[").startswith("--")} <= known, line
