"""The rule filter decides without reading a message."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime
from typing import Any

import anyio
import pytest
from pydantic import ValidationError

from mesyx_core.api import ACCEPT, Bytes, Message, Stage, Verdict
from mesyx_core.builtin import mesyx_filters
from mesyx_core.builtin.filter import Rules, RulesConfig
from mesyx_core.testing import FilterContract, mail


def judge(toml: str, stage: Stage = "receive", **fields: Any) -> Verdict:
    rules = Rules(RulesConfig.model_validate(tomllib.loads(toml)))
    given: dict[str, Any] = {
        "sender": "eve@spam.example",
        "recipients": ("alice@example.org",),
        "body": Bytes(b"x" * 100),
    }
    message = Message(kind="mail", time=datetime(2026, 1, 1, tzinfo=UTC), **(given | fields))
    return anyio.run(rules.judge, message, stage)


def test_a_message_that_no_rule_fits_is_accepted() -> None:
    assert judge('[[rule]]\nsender = "*@other.example"\naction = "drop"') is ACCEPT


@pytest.mark.parametrize(
    "condition",
    [
        'sender = "*@SPAM.example"',
        'sender = ["x", "eve@*"]',
        'recipient = "al?ce@example.org"',
        'larger = "99 B"',
        'smaller = "101 B"',
        'sender = "eve@*"\nlarger = 50',
    ],
)
def test_a_rule_applies_when_all_of_its_conditions_do(condition: str) -> None:
    assert judge(f'[[rule]]\n{condition}\naction = "reject"\nreason = "no"') == Verdict(word="reject", reason="no")
    assert judge(f'[[rule]]\n{condition}\nimportance = "low"\naction = "reject"') is ACCEPT


def test_a_pattern_has_no_wildcards_but_star_and_question_mark() -> None:
    assert judge('[[rule]]\nsender = "[e]ve@*"\naction = "drop"') is ACCEPT
    assert judge('[[rule]]\nsender = "[e]ve@*"\naction = "drop"', sender="[e]ve@x").word == "drop"


def test_marks_add_up_until_a_rule_decides() -> None:
    toml = """
        [[rule]]
        sender = "*"
        set_importance = "high"
        flags = ["a"]
        [[rule]]
        importance = "high"
        mailbox = "Bank"
        flags = ["b"]
        action = "hold"
        [[rule]]
        action = "drop"
    """
    assert judge(toml) == Verdict(word="hold", importance="high", mailbox="Bank", flags=frozenset("ab"))


def test_other_stages_are_left_alone_unless_named() -> None:
    assert judge('[[rule]]\naction = "drop"', stage="submit") is ACCEPT
    assert judge('stages = ["submit"]\n[[rule]]\naction = "drop"', stage="submit").word == "drop"


@pytest.mark.parametrize(
    "rule", ['sender = "x"', 'sender = "x"\naction = "drop"\nreason = "no"', 'sender = ""\naction = "drop"']
)
def test_a_rule_that_could_only_be_a_mistake_is_refused(rule: str) -> None:
    with pytest.raises(ValidationError):
        judge(f"[[rule]]\n{rule}")


def test_a_long_address_does_not_make_a_pattern_slow() -> None:
    assert judge(f'[[rule]]\nsender = "{"*a" * 100}b"\naction = "drop"', sender="a" * 20_000) is ACCEPT


class TestRules(FilterContract):
    provider = mesyx_filters()[0]
    config = {
        "rule": [
            {"sender": "eve@spam.example", "action": "reject", "reason": "no"},
            {"sender": "mallory@spam.example", "action": "drop"},
            {"sender": "trent@spam.example", "action": "hold"},
            {"sender": "list@example.org", "set_importance": "low", "mailbox": "Lists", "flags": ["$List"]},
        ]
    }
    capabilities = frozenset({"rejects", "drops", "holds", "marks"})
    examples = {
        "rejects": mail(sender="eve@spam.example"),
        "drops": mail(sender="mallory@spam.example"),
        "holds": mail(sender="trent@spam.example"),
        "marks": mail(sender="list@example.org"),
    }
