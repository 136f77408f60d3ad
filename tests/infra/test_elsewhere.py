"""The commands with `--target`: what goes with which target, and what the engine's news are called."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from click.testing import CliRunner

from huidu.foundation.errors import UsageError
from infra.commands import stack
from infra.desired import Desired, Release
from infra.hybrid_crm import TOPOLOGY
from infra.news import News
from infra.remote import NONE, Wanted, _with_releases, replaces_candidate

pytestmark = pytest.mark.slow  # each renders the whole stack


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HUIDU_HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["up", "--settings", "x.yaml"], "--settings is for a target elsewhere"),
        (["up", "--candidate", "v2"], "--candidate is for a target elsewhere"),
        (["preview", "--stable", "v2"], "--stable is for a target elsewhere"),
        (["up", "--target", "kubernetes", "--while", "1"], "--while is for the stack on this machine"),
        (["drift", "--target", "kubernetes"], "no stack of this workspace stands on kubernetes"),
    ],
)
def test_what_does_not_go_together_is_refused(words: list[str], said: str, home: Path) -> None:
    done = CliRunner().invoke(stack, words)
    assert isinstance(done.exception, UsageError)
    assert said in str(done.exception)
    assert not (home / "targets").exists()


def test_where_nothing_stands_down_does_nothing() -> None:
    done = CliRunner().invoke(stack, ["down", "--target", "kubernetes"])
    assert done.exit_code == 0
    assert "no stack of this workspace stands on kubernetes" in done.output


def test_down_here_leaves_the_keys_of_a_stack_elsewhere(home: Path) -> None:
    secret = home / "secrets" / "pulumi.passphrase"
    for file in (secret, home / "targets" / "kubernetes" / "desired.json", home / "stack.json"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("kept")
    done = CliRunner().invoke(stack, ["down"])
    assert isinstance(done.exception, UsageError)
    assert "stack on kubernetes, whose keys would go" in str(done.exception)
    assert secret.read_text() == "kept"


@pytest.mark.parametrize("command", [["status"], ["drift"], ["release", "v2"], ["failover"]])
def test_who_asks_here_for_a_stack_elsewhere_is_told_where_it_is(command: list[str], home: Path) -> None:
    BEGUN.write(home / "targets" / "kubernetes" / "desired.json")
    ended = CliRunner().invoke(stack, command)
    assert "no stack stands here" in str(ended.exception)
    assert "this home's stack stands on kubernetes" in str(ended.exception)


def test_a_folder_that_cannot_be_made_is_said() -> None:
    done = CliRunner().invoke(stack, ["render", "--target", "alicloud", "--out", "/proc/nope"])
    assert isinstance(done.exception, UsageError)
    assert "cannot be written" in str(done.exception) and "/proc/nope" in str(done.exception)


def test_an_unknown_target_is_refused_with_those_there_are() -> None:
    done = CliRunner().invoke(stack, ["up", "--target", "moon"])
    assert done.exit_code == 2
    assert "kubernetes" in done.output


@pytest.mark.parametrize(
    ("options", "stable", "candidate"),
    [
        ([], "v1", None),
        (["--stable", "v2"], "v2", None),
        (["--stable", "v2", "--candidate", "v3"], "v2", "v3"),
        (["--stable", "V2_rc1", "--candidate", "v1"], "V2_rc1", "v1"),
        # A promotion without an engine: stable becomes what the candidate, which serves everybody, runs.
        (["--stable", "v2", "--candidate", "v2"], "v2", "v2"),
    ],
)
def test_what_is_rendered_runs_the_releases_that_were_named(
    tmp_path: Path, options: list[str], stable: str, candidate: str | None
) -> None:
    out = tmp_path / "out"
    words = ["render", "--target", "kubernetes", "--out", str(out), *options]
    assert CliRunner().invoke(stack, words).exit_code == 0
    runs = {}
    for file in out.glob("public/deployment-touchpoints-*.yaml"):
        template = yaml.safe_load(file.read_text())["spec"]["template"]
        runs[file.stem.rpartition("-")[2]] = template["metadata"]["labels"]["huidu/release"]
    assert runs == {"stable": stable} | ({"candidate": candidate} if candidate else {})


@pytest.mark.parametrize("version", ["V2_rc1.", "v2-", "-v2", "v2_", "", "v" * 41, "v2+1"])
def test_a_version_that_no_label_could_be_is_refused(version: str, tmp_path: Path) -> None:
    for option in ("--stable", "--candidate"):
        words = ["render", "--target", "kubernetes", "--out", str(tmp_path / "out"), option, version]
        assert isinstance(CliRunner().invoke(stack, words).exception, UsageError)


BEGUN = Desired(topology=TOPOLOGY, stable=Release(version="v1"), created="now")


def test_releases_are_changed_one_by_one_and_otherwise_stay() -> None:
    beside = _with_releases(BEGUN, Wanted(candidate="v2"))
    assert beside.candidate is not None and beside.candidate.version == "v2"
    assert _with_releases(beside, Wanted()) == beside
    assert _with_releases(beside, Wanted(candidate="v2")) == beside
    promoted = _with_releases(beside, Wanted(stable="v2"))
    assert promoted.stable.version == "v2" and promoted.candidate is not None
    alone = _with_releases(promoted, Wanted(candidate=NONE))
    assert alone.stable.version == "v2" and alone.candidate is None


@pytest.mark.parametrize(
    ("wanted", "looked_at"),
    [
        (Wanted(), False),
        (Wanted(candidate="v2"), False),
        (Wanted(stable="v2"), False),
        (Wanted(candidate=NONE), True),
        (Wanted(stable="v2", candidate=NONE), True),
        (Wanted(candidate="v3"), True),
    ],
)
def test_whom_the_candidate_serves_is_asked_before_its_pods_go_or_change(
    wanted: Wanted, looked_at: bool
) -> None:
    beside = _with_releases(BEGUN, Wanted(candidate="v2"))
    assert replaces_candidate(beside, _with_releases(beside, wanted)) is looked_at
    assert replaces_candidate(BEGUN, beside)


def test_an_impossible_version_is_refused() -> None:
    with pytest.raises(UsageError, match="is no version"):
        _with_releases(BEGUN, Wanted(stable="not a version"))
    with pytest.raises(UsageError, match="runs already"):
        _with_releases(BEGUN, Wanted(candidate="v1"))


@pytest.mark.parametrize(
    ("urn", "called"),
    [
        ("urn:pulumi:stack::huidu::pulumi-python:dynamic/huidu:Component::edge", "edge"),
        ("urn:pulumi:stack::huidu::kubernetes:apps/v1:Deployment::public/web", "public/Deployment web"),
        (
            "urn:pulumi:stack::huidu::kubernetes:cert-manager.io/v1:Certificate::public/edge-tls",
            "public/Certificate edge-tls",
        ),
        ("urn:pulumi:stack::huidu::pulumi:providers:kubernetes::public", None),
        ("urn:pulumi:stack::huidu::pulumi:pulumi:Stack::huidu-stack", None),
    ],
)
def test_the_engines_news_are_told_by_component_or_by_zone_and_resource(urn: str, called: str | None) -> None:
    news = News()
    about = SimpleNamespace(urn=urn, op="create", old=None, new=None)
    event = SimpleNamespace(
        resource_pre_event=SimpleNamespace(metadata=about, planning=True),
        res_outputs_event=None,
        diagnostic_event=None,
    )
    news(event)  # type: ignore[arg-type]
    assert [step.component for step in news.steps] == ([called] if called else [])


@pytest.mark.parametrize(
    ("urn", "message", "said"),
    [
        (
            "urn:pulumi:stack::huidu::kubernetes:apps/v1:Deployment::public/web",
            "1 error occurred:\n\t* 0 of 1 replicas\n\t* FailedCreate: exceeded quota\n",
            "public/Deployment web: 0 of 1 replicas; FailedCreate: exceeded quota",
        ),
        (
            "urn:pulumi:stack::huidu::kubernetes:apps/v1:Deployment::public/web",
            "Deployment crm/web: is forbidden",
            "Deployment crm/web: is forbidden",
        ),
        (
            "urn:pulumi:stack::huidu::pulumi-python:dynamic/huidu:Component::edge",
            "it does not get healthy",
            "it does not get healthy",
        ),
        ("", "no such plugin", "no such plugin"),
    ],
)
def test_an_error_names_its_resource_and_stands_in_one_line(urn: str, message: str, said: str) -> None:
    news = News()
    diagnostic = SimpleNamespace(severity="error", message=message, urn=urn)
    event = SimpleNamespace(resource_pre_event=None, res_outputs_event=None, diagnostic_event=diagnostic)
    news(event)  # type: ignore[arg-type]
    assert news.errors == [said]
