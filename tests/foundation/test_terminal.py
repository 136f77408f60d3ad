"""What commands print in a pipe or a CI log."""

from __future__ import annotations

import io

from huidu.foundation.terminal import Terminal


def test_a_table_in_a_pipe_keeps_every_word_on_its_line() -> None:
    stream = io.StringIO()
    gates = ["service-speed", "conversion", "customers exposed"]
    Terminal(stream).table(["gate", "what it found"], [[gate, "no more than it may " * 4] for gate in gates])
    lines = stream.getvalue().splitlines()
    assert len(lines) == 1 + len(gates)
    assert [line.split("  ")[0] for line in lines[1:]] == gates


def test_a_cell_that_fits_nowhere_is_folded_not_cut() -> None:
    stream = io.StringIO()
    word = "touchpoints" * 40
    Terminal(stream).table(["gate", "request"], [["errors", word]])
    text = "".join(line.removeprefix("errors").strip() for line in stream.getvalue().splitlines()[1:])
    assert text == word and "…" not in stream.getvalue()
