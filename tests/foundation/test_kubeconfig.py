"""Kubeconfigs as people have them, and login plugins as clouds have them: real files, real processes."""

from __future__ import annotations

import json
import sys
import textwrap
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import yaml

pytest.importorskip("kubernetes")

from huidu.foundation import kubeconfig
from huidu.foundation.errors import ConfigError, Unreachable
from huidu.foundation.kubeconfig import Chosen, choose, configuration

SERVER = "https://127.0.0.1:1"


def write(folder: Path, user: dict[str, object], current: str = "home") -> Path:
    file = folder / "config"
    contexts = [{"name": name, "context": {"cluster": "c", "user": f"u-{name}"}} for name in ("home", "far")]
    text = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": SERVER}}],
        "users": [{"name": f"u-{name}", "user": user} for name in ("home", "far")],
        "contexts": contexts,
        "current-context": current,
    }
    file.write_text(yaml.safe_dump(text))
    return file


def plugin(folder: Path, code: str, *arguments: str) -> dict[str, object]:
    """A user whose login is what `code` prints."""
    file = folder / "login.py"
    file.write_text(textwrap.dedent(code))
    command = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": sys.executable,
        "args": [str(file), *arguments],
        "interactiveMode": "Never",
    }
    return {"exec": command}


GIVES = """
import json, pathlib, sys, time
file = pathlib.Path(sys.argv[1])
number = int(file.read_text()) + 1 if file.exists() else 1
file.write_text(str(number))
status = {"token": f"t{number}", "expirationTimestamp": sys.argv[2]}
version = "client.authentication.k8s.io/v1"
print(json.dumps({"apiVersion": version, "kind": "ExecCredential", "status": status}))
"""


def token(made: object) -> str:
    return str(made.get_api_key_with_prefix("BearerToken"))  # type: ignore[attr-defined]


def test_the_current_context_is_spelled_out(tmp_path: Path) -> None:
    file = write(tmp_path, {"token": "x"})
    assert choose(str(file), "", "") == Chosen(str(file), "home", "u-home")
    assert choose(str(file), "far", "") == Chosen(str(file), "far", "u-far")


def test_several_files_are_one_and_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    file = write(tmp_path / "a", {"token": "x"})
    (tmp_path / "more").write_text("{apiVersion: v1, kind: Config, clusters: [], users: [], contexts: []}")
    monkeypatch.chdir(tmp_path)
    chosen = choose("a/config:more", "", "")
    assert chosen.files == f"{file}:{tmp_path / 'more'}"
    assert token(configuration(chosen)) == "Bearer x"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot be read"),
        ("", "cannot be read"),
        ("{", "cannot be read"),
        ("[1, 2]", "cannot be read"),
        ("clusters: 3", "cannot be read"),
        (
            "{current-context: x, clusters: [], users: [], contexts: [{name: x, context: {}}]}",
            "Expected key cluster",
        ),
        (
            "{current-context: x, users: [], contexts: [{name: x, context: {cluster: c}}], clusters:"
            " [{name: c, cluster: {server: 'https://a', certificate-authority: none.pem}}]}",
            "the context x cannot be used: File does not exist.*none.pem",
        ),
    ],
)
def test_what_is_no_kubeconfig_is_said_with_its_file(tmp_path: Path, text: str | None, said: str) -> None:
    file = tmp_path / "config"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ConfigError, match=said) as refused:
        configuration(choose(str(file), "", "name another"))
    assert str(file) in str(refused.value)


def test_a_context_that_is_not_there_is_said_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'moon'(.|\n)*one of home, far(.|\n)*name another"):
        choose(str(write(tmp_path, {})), "moon", "name another")


def test_a_login_is_asked_for_again_when_it_has_expired(tmp_path: Path) -> None:
    file = write(tmp_path, plugin(tmp_path, GIVES, str(tmp_path / "n"), "2001-01-01T00:00:00Z"))
    made = configuration(choose(str(file), "", ""))
    assert [token(made), token(made)] == ["Bearer t2", "Bearer t3"]
    file = write(tmp_path, plugin(tmp_path, GIVES, str(tmp_path / "n"), "2999-01-01T00:00:00Z"))
    made = configuration(choose(str(file), "", ""))
    assert [token(made), token(made)] == ["Bearer t4", "Bearer t4"]


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import sys; sys.exit('the sign-in service is away')", "the sign-in service is away"),
        ("print('not json')", "failed to decode"),
        (
            'print(\'{"apiVersion": "client.authentication.k8s.io/v1", "kind": "x", "status": {}}\')',
            "missing token",
        ),
    ],
)
def test_a_login_plugin_that_fails_is_said_in_its_own_words(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], code: str, said: str
) -> None:
    file = write(tmp_path, plugin(tmp_path, code))
    with pytest.raises(Unreachable, match=f"the login plugin {sys.executable} failed.*{said}"):
        configuration(choose(str(file), "", ""))
    assert capfd.readouterr().err == ""


def test_a_login_plugin_that_is_not_there_is_said(tmp_path: Path) -> None:
    user = plugin(tmp_path, "")
    user["exec"]["command"] = "./no-such-login"  # type: ignore[index]
    with pytest.raises(Unreachable, match="no-such-login"):
        configuration(choose(str(write(tmp_path, user)), "", ""))


@pytest.mark.slow
def test_a_login_plugin_that_hangs_is_ended_with_all_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = """
    import json, os, pathlib, subprocess, sys, time
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    pathlib.Path(sys.argv[1]).write_text(json.dumps([os.getpid(), child.pid]))
    time.sleep(60)
    """
    monkeypatch.setattr(kubeconfig, "PLUGIN_WITHIN", 4.0)
    file = write(tmp_path, plugin(tmp_path, code, str(tmp_path / "pids")))
    with pytest.raises(Unreachable, match="did not end within 4 s"):
        configuration(choose(str(file), "", ""))
    for pid in json.loads((tmp_path / "pids").read_text()):
        with suppress(psutil.NoSuchProcess):
            psutil.Process(pid).wait(10)


def test_a_login_that_expires_and_is_not_given_again_is_nobodys_login(tmp_path: Path) -> None:
    """The token that was is not used on: who asks is told that nobody can be asked."""
    code = GIVES.replace("status =", "number > 1 and sys.exit('the session is over')\nstatus =")
    file = write(tmp_path, plugin(tmp_path, code, str(tmp_path / "n"), "2001-01-01T00:00:00Z"))
    made = configuration(choose(str(file), "", ""))
    with pytest.raises(Unreachable, match="the session is over"):
        token(made)


@pytest.mark.parametrize(
    "server",
    ["10.0.0.1:6443", "example.com", "ftp://a", "https://", "https://:99", "https://a:b", "https://a b"],
)
def test_a_server_that_is_no_address_is_said_before_it_is_asked(tmp_path: Path, server: str) -> None:
    """The library takes one without a scheme for http, and its own library warns about it."""
    file = write(tmp_path, {"token": "x"})
    file.write_text(file.read_text().replace(SERVER, server))
    with pytest.raises(ConfigError, match="the context home cannot be used: its server is") as refused:
        configuration(choose(str(file), "", ""))
    assert server in str(refused.value) and "https://HOST:PORT" in str(refused.value)


@pytest.mark.parametrize("cluster", ["{}", "{server: ''}", "{server: null}"])
def test_a_cluster_without_a_server_is_never_taken_for_this_machine(tmp_path: Path, cluster: str) -> None:
    file = write(tmp_path, {"token": "x"})
    document = yaml.safe_load(file.read_text())
    document["clusters"][0]["cluster"] = yaml.safe_load(cluster)
    file.write_text(yaml.safe_dump(document))
    with pytest.raises(ConfigError, match="its cluster c has no server"):
        configuration(choose(str(file), "", ""))
