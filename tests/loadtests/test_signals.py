"""What ends a run early ends it in order, and what it cannot mean is said of the option that was wrong."""

from __future__ import annotations

import os
import signal

import pytest
from click.testing import CliRunner

from huidu.foundation.errors import UsageError
from loadtests.commands import load
from loadtests.signals import handled


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_run_hears_ctrl_c_sigterm_and_a_closed_terminal(number: signal.Signals) -> None:
    """Else a lost ssh connection ends it without a verdict."""
    heard: list[int] = []
    before = signal.getsignal(number)
    with handled(lambda which, _: heard.append(which)):
        os.kill(os.getpid(), number)
    assert heard == [number] and signal.getsignal(number) is before


def test_a_run_under_nohup_goes_on_when_the_terminal_closes() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    heard: list[int] = []
    try:
        with handled(lambda which, _: heard.append(which)):
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert not heard


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("worker", "--master", "127.0.0.1:1", "--wait", "soon"), "--wait 'soon'"),
        (("soak", "demo", "--duration", "soon"), "--duration 'soon'"),
        (("compare", "a", "b", "--margin", "x"), "--margin 'x'"),
        (("compare", "a", "b", "--failures-margin", "x"), "--failures-margin 'x'"),
    ],
)
def test_a_complaint_names_the_option_that_was_wrong(arguments: tuple[str, ...], named: str) -> None:
    error = CliRunner().invoke(load, arguments).exception
    assert isinstance(error, UsageError) and named in str(error)
