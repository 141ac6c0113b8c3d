"""The rule filter: decides by what is known without reading a message: size, sender, recipient, importance."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ByteSize, ConfigDict, Field, JsonValue, StringConstraints, model_validator

from mesyx_core.api import ACCEPT, Context, Importance, Message, Stage, Verdict

Pattern = Annotated[str, StringConstraints(min_length=1, max_length=320)]
Patterns = Pattern | list[Pattern]


class Rule(BaseModel):
    """Applies when all of its conditions do. With `action` it decides; without, it marks and the next rule is tried."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    larger: Annotated[ByteSize | None, Field(examples=["50 MB"])] = None
    """Condition: the body has more bytes than this."""
    smaller: Annotated[ByteSize | None, Field(examples=["1 kB"])] = None
    """Condition: the body has fewer bytes than this."""
    sender: Annotated[Patterns, Field(examples=["*@example.org"])] = []
    """Condition: the sender fits one of these patterns; `*` and `?` are wildcards, upper and lower case are one."""
    recipient: Annotated[Patterns, Field(examples=["alice+shop@example.org"])] = []
    """Condition: the recipient fits one of these patterns."""
    importance: Importance | None = None
    """Condition: the importance so far."""
    action: Literal["accept", "reject", "drop", "hold"] | None = None
    """What becomes of the message; no later rule is asked."""
    reason: Annotated[str, Field(max_length=200)] = ""
    """Told to the sender on a reject."""
    temporary: bool = False
    """A reject that may be tried again."""
    set_importance: Importance | None = None
    """Marks the message: the keyset is chosen by it."""
    mailbox: str = ""
    """Files the message there instead of into INBOX."""
    flags: frozenset[str] = frozenset()
    """Flags that the message starts with, such as `\\Flagged` or a keyword."""

    @model_validator(mode="after")
    def _does_something(self) -> Self:
        if not (self.action or self.set_importance or self.mailbox or self.flags):
            raise ValueError('has no effect; add action = "reject", set_importance, mailbox or flags')
        if self.action != "reject" and (self.reason or self.temporary):
            raise ValueError('has reason or temporary without a reject; add action = "reject"')
        return self


class RulesConfig(BaseModel):
    """`[filter.rules]`: rules in the order in which they are tried."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    stages: Annotated[frozenset[Stage], Field(examples=[["receive"]])] = frozenset({"receive"})
    """When to judge: as the gateway receives, as the client opens, as a person submits."""
    rule: Annotated[list[Rule], Field(max_length=10_000)] = []
    """`[[filter.rules.rule]]` tables."""


class Rules:
    """The filter at work; a message costs no more than a walk along compiled patterns."""

    def __init__(self, config: RulesConfig) -> None:
        self._stages = config.stages
        self._rules = [_Test(rule) for rule in config.rule]

    async def judge(self, message: Message, stage: Stage, script: JsonValue = None) -> Verdict:
        """The first deciding rule's word, with all marks up to it. Later marks win; flags add up."""
        if stage not in self._stages:
            return ACCEPT
        verdict, importance = ACCEPT, message.importance
        for test in self._rules:
            if not test(message, importance):
                continue
            rule = test.rule
            importance = rule.set_importance or importance
            verdict = replace(
                verdict,
                importance=rule.set_importance or verdict.importance,
                mailbox=rule.mailbox or verdict.mailbox,
                flags=verdict.flags | rule.flags,
            )
            if rule.action is not None:
                return replace(verdict, word=rule.action, reason=rule.reason, temporary=rule.temporary)
        return verdict


class _Test:
    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self._sender = _compile(rule.sender)
        self._recipient = _compile(rule.recipient)

    def __call__(self, message: Message, importance: Importance) -> bool:
        rule, size = self.rule, message.body.size
        return (
            (rule.larger is None or size > rule.larger)
            and (rule.smaller is None or size < rule.smaller)
            and (rule.importance is None or importance == rule.importance)
            and (self._sender is None or self._sender.match(message.sender) is not None)
            and (self._recipient is None or any(map(self._recipient.match, message.recipients)))
        )


def _compile(patterns: str | Sequence[str]) -> re.Pattern[str] | None:
    """One expression for all patterns. fnmatch makes each `*` atomic, so that no address makes it slow."""
    each = [patterns] if isinstance(patterns, str) else patterns
    return re.compile("|".join(_translate(p) for p in each), re.IGNORECASE) if each else None


def _translate(pattern: str) -> str:
    return fnmatch.translate(pattern.replace("[", "[[]"))


@asynccontextmanager
async def open_rules(config: RulesConfig, context: Context) -> AsyncIterator[Rules]:
    """Opens the filter; it holds nothing that needs closing."""
    yield Rules(config)
