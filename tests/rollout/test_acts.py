"""What people say: none is lost, none counts twice, half a line counts for nothing, and names are proved."""

from __future__ import annotations

import concurrent.futures

import pytest

from huidu.foundation.clock import VirtualClock
from huidu.foundation.errors import ConfigError, StateError, UsageError
from rollout import acts
from rollout.acts import Act, acted, mailbox, submit
from rollout.people import by_token, new_token, os_user, permit, proved
from rollout.plan.people import People

ACT = Act("approve", "anna", "looks well", "token", 1.0, "half")


def test_acts_are_read_in_order_from_any_place(tmp_path):
    ends = [submit(tmp_path, Act("pause", f"p{n}", "because", "os", float(n))) for n in range(5)]
    assert [each.end for each in acts.read(tmp_path)] == ends
    assert [each.act.by for each in acts.read(tmp_path, ends[2]) if each.act] == ["p3", "p4"]
    assert acts.read(tmp_path, ends[-1]) == []
    assert mailbox(tmp_path).stat().st_mode & 0o077 == 0


def test_half_a_line_waits_for_nobody(tmp_path):
    first = submit(tmp_path, ACT)
    with mailbox(tmp_path).open("ab") as file:
        file.write(b'{"kind": "pau')  # its writer died here
    assert [each.end for each in acts.read(tmp_path)] == [first]
    submit(tmp_path, ACT)
    found = acts.read(tmp_path, first)
    assert [each.act for each in found] == [None, ACT] and "no act" in found[0].problem


@pytest.mark.parametrize("line", [b"hello", b"[]", b"{}", b'{"kind": "skip"}', b"\xff\xfe"])
def test_a_line_that_is_no_act_has_a_place_and_a_problem(tmp_path, line):
    mailbox(tmp_path).write_bytes(line + b"\n")
    (found,) = acts.read(tmp_path)
    assert found.act is None and found.problem and found.end == len(line) + 1


def test_many_at_once_lose_nothing(tmp_path):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: submit(tmp_path, Act("pause", f"p{n}", "x" * n, "os", 0.0)), range(1, 41)))
    assert {each.act.by for each in acts.read(tmp_path) if each.act} == {f"p{n}" for n in range(1, 41)}


def test_a_reason_is_asked_for_and_a_rollout_must_be_there(tmp_path):
    with pytest.raises(UsageError, match="reason"):
        submit(tmp_path, acted(VirtualClock(), "pause", ("anna", "os"), "  "))
    with pytest.raises(StateError, match="no such rollout"):
        submit(tmp_path / "none", ACT)
    with pytest.raises(UsageError, match="too long"):
        submit(tmp_path, Act("pause", "anna", "x" * 5000, "os", 0.0))


def test_a_token_proves_a_name_and_only_that(tmp_path):
    people = People(roles={"manager": ("anna",)}, may={"approve": ("manager",)}, tokens=tmp_path / "tokens")
    for name in ("anna", "ben"):
        new_token(tmp_path / "tokens", name, tmp_path / f"{name}.token")
    anna, ben = ((tmp_path / f"{name}.token").read_text() for name in ("anna", "ben"))
    assert anna.strip() not in (tmp_path / "tokens").read_text()
    assert (tmp_path / "anna.token").stat().st_mode & 0o077 == 0
    assert proved(people, "anna", anna) == ("anna", "token") and proved(people, None, ben) == ("ben", "token")
    with pytest.raises(UsageError, match="not this person's"):
        proved(people, "anna", ben)
    with pytest.raises(UsageError, match="not this person's"):
        proved(people, None, "guess")
    permit(people, "approve", "anna")
    permit(people, "pause", "ben")
    with pytest.raises(UsageError, match="manager"):
        permit(people, "approve", "ben")
    new_token(tmp_path / "tokens", "anna", tmp_path / "anna.token")
    assert by_token(tmp_path / "tokens", anna) == "", "a new token replaces the old one"


def test_without_a_token_one_is_the_user_of_the_operating_system(monkeypatch):
    monkeypatch.setenv("LOGNAME", "somebody-else")
    monkeypatch.setenv("USER", "somebody-else")
    assert proved(People(), None, None) == (os_user(), "os") and os_user() != "somebody-else"
    with pytest.raises(UsageError, match="not to 'anna'"):
        proved(People(), "anna", None)


def test_a_file_of_tokens_that_others_can_read_is_refused(tmp_path):
    path = tmp_path / "tokens"
    path.write_text("anna: nonsense\n")
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="others can read"):
        by_token(path, "x")
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="not a token"):
        by_token(path, "x")
