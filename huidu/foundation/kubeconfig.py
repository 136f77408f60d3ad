"""A kubeconfig as kubectl takes it: which context, and how to connect to its cluster.

The official client reads it; two things are added. A login plugin (`exec:`, as clouds have them) that hangs
is ended, where the client would wait without end; and one that fails is said, where the client would write
it to the log and go on without a name. The library is imported only here and only when it is used.
"""

from __future__ import annotations

import importlib
import logging
import string
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from huidu.foundation.errors import ConfigError, MissingProgram, Unreachable

PLUGIN_WITHIN = 15.0
"""Seconds a login plugin may take. It asks a cloud's sign-in service, which answers within a second or two; a
rollout looks every few seconds, and its guard acts after a minute."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A context of a kubeconfig. `files`: as KUBECONFIG has it, absolute; `user`: whom the context names."""

    files: str
    context: str
    user: str


def choose(kubeconfig: str, context: str, remedy: str) -> Chosen:
    """Empty ones are kubectl's defaults, and spelled out: who goes on later must not meet another cluster
    because somebody switched the context. `remedy`: where the reader names them.

    Raises ConfigError, MissingProgram.
    """
    config = library("config")
    # The default is a list of files where KUBECONFIG is one.
    files = str(Path(kubeconfig).expanduser()) if kubeconfig else _default(config)
    try:
        known, active = config.list_kube_config_contexts(files)
    except _unusable(config) as error:
        raise ConfigError(
            f"the kubeconfig cannot be read: {_line(error)}", file=files, remedy=remedy
        ) from None
    names = [each["name"] for each in known]
    name = context or (active or {}).get("name", "")
    if name not in names:
        raise ConfigError(
            f"there is no context {name!r}",
            file=files,
            expected=f"one of {', '.join(names) or 'none'}",
            remedy=remedy,
        )
    user = next(each for each in known if each["name"] == name)["context"].get("user")
    absolute = [str(Path(file).expanduser().resolve()) for file in files.split(":") if file]
    return Chosen(":".join(absolute), name, str(user or "this account"))


def configuration(chosen: Chosen) -> Any:
    """A `kubernetes.client.Configuration` that asks once: how often is decided by who asks.

    Its login plugin is asked now, and again when what it gave has expired. Raises ConfigError; Unreachable
    where the plugin gives no login, now or at a later call.
    """
    config = library("config")
    made = library("client").Configuration()
    made.retries = False
    try:
        merged = config.kube_config.KubeConfigMerger(chosen.files).config
        loader = _loader()(merged, active_context=chosen.context)
        problem = _no_server(loader)
        if not problem:
            loader.load_and_set(made)
    except _unusable(config) as error:
        raise ConfigError(
            f"the context {chosen.context} cannot be used: {_line(error)}", file=chosen.files
        ) from None
    if problem:
        raise ConfigError(
            f"the context {chosen.context} cannot be used: {problem}",
            file=chosen.files,
            expected="server: https://HOST:PORT",
        )
    return made


def _no_server(loader: Any) -> str:
    """In which way the context's cluster has no address that can be asked; "" for none.

    The library takes one that is missing for this machine, one without a scheme for http.
    """
    server = loader._current_context["context"]["cluster"]
    said = loader._cluster.safe_get("server") if loader._cluster else None
    if not said:
        return f"its cluster {server} has no server"
    try:
        parts = urlsplit(str(said))
        whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is none
        whole = False
    return "" if whole and not set(str(said)) & set(string.whitespace) else f"its server is {said}"


def library(part: str) -> Any:
    """A module of the official client. Raises MissingProgram."""
    try:
        return importlib.import_module(f"kubernetes.{part}")
    except ImportError as error:
        raise MissingProgram(
            f"the Python package `kubernetes` is missing ({error})", remedy="pip install 'huidu[kubernetes]'"
        ) from None


def _loader() -> type:
    base: Any = library("config").kube_config.KubeConfigLoader

    class Loader(base):  # type: ignore[misc]
        """The library's, with a time limit for the plugin and an end where it gives nothing."""

        def _load_from_exec_plugin(self) -> bool | None:
            plugin = self._user.value.get("exec")
            if not isinstance(plugin, dict):
                return None
            command = plugin.get("command", "")
            with _bounded(plugin), _told() as said:
                if super()._load_from_exec_plugin():
                    return True
            why = said[-1] if said else "it gave no login"
            raise Unreachable(
                f"the login plugin {command} failed: {why}",
                where=str(self._current_context["name"]),
                remedy="run it by hand, as the kubeconfig's `exec` has it; nothing was changed",
            )

    return Loader


@contextmanager
def _bounded(plugin: dict[str, Any]) -> Iterator[None]:
    """While it is asked, the plugin's command ends in time."""
    command, arguments = plugin.get("command", ""), plugin.get("args")
    # -P: it runs beside the kubeconfig, and nothing there may be taken for a module of ours.
    words = ["-P", "-m", "huidu.foundation.bounded", f"{PLUGIN_WITHIN:g}", command, *(arguments or ())]
    plugin |= {"command": sys.executable, "args": words}
    try:
        yield
    finally:
        plugin |= {"command": command, "args": arguments}


@contextmanager
def _told() -> Iterator[list[str]]:
    """What this thread tells the root logger meanwhile: there alone the library says what failed."""
    said: list[str] = []
    here = threading.get_ident()

    def keep(record: logging.LogRecord) -> bool:
        if record.thread != here:
            return True
        said.append(record.getMessage().strip())
        return False

    root = logging.getLogger()
    root.addFilter(keep)
    try:
        yield said
    finally:
        root.removeFilter(keep)


def _default(config: Any) -> str:
    return str(config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION)


def _unusable(config: Any) -> tuple[type[Exception], ...]:
    return (config.ConfigException, yaml.YAMLError, OSError, ValueError, TypeError, KeyError)


def _line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
