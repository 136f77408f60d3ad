"""From a command as written to the words that are run: variables, `huidu` itself, files of the package.

No shell is ever involved; what only a shell would understand is refused when the runbook is checked.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from runbooks.engine.procedure import Command

VARIABLES = {
    "HUIDU_HOME": "the folder of this stack's state",
    "RUN": "the name of this run, made of its time: 20260131-142502",
    "RUN_DIR": "the folder of this run's logs and journal",
    "RUN_PID": "the process that runs this runbook",
    "KEEPER_PID": "the process whose end ends everything: RUN_PID, or 0 (nobody) with --keep",
}
_VARIABLE = re.compile(r"\$\{(\w*)\}")
_SHELL = {"|", "||", "&&", "&", ";", ">", ">>", "<", "<<", "2>", "2>&1", "&>"}
_PACKAGES = ("loadtests/", "rollout/", "runbooks/", "infra/")


def split(text: str, line: int) -> Command:
    """The words of one command. Raises ValueError saying what a reader must change."""
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise ValueError(f"the command cannot be split into words: {str(error).lower()}") from None
    if not words:
        raise ValueError("there is no command here")
    for word in words:
        if word in _SHELL or word.endswith(";") or "$(" in word or word.startswith("`"):
            raise ValueError(f"{word!r} is for a shell, and commands run without one")
        for name in _VARIABLE.findall(word):
            if name not in VARIABLES:
                raise ValueError(f"unknown variable ${{{name}}}; known: {', '.join(VARIABLES)}")
        if "$" in _VARIABLE.sub("", word):
            raise ValueError(f"{word!r}: a variable is written ${{NAME}}")
    return Command(line, text, words)


def resolve(command: Command, values: Mapping[str, str], here: Path, package: Path) -> list[str]:
    """The words to run. `here`: the working directory; `package`: where the installed rooms lie.

    A file such as loadtests/profiles/demo.yaml that is not `here` is taken from the installed package.
    """
    words = [filled(word, values) for word in command.words]
    words = [_packaged(word, here, package) for word in words]
    if words[0] == "huidu":
        return [*huidu_words(), *words[1:]]
    if words[0] in ("python", "python3"):
        return [sys.executable, *words[1:]]
    return words


def filled(text: str, values: Mapping[str, str]) -> str:
    """`text` with its variables filled in; what is none of ours (in prose) stays as it is."""
    return _VARIABLE.sub(lambda match: values.get(match.group(1), match.group(0)), text)


def huidu_words() -> list[str]:
    """This very huidu: the console script beside the running interpreter, else the module."""
    script = Path(sys.executable).with_name("huidu")
    return [str(script)] if script.is_file() else [sys.executable, "-m", "huidu.cli"]


def _packaged(word: str, here: Path, package: Path) -> str:
    if word.startswith(_PACKAGES) and not (here / word).exists() and (package / word).is_file():
        return str(package / word)
    return word
