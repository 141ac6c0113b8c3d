"""How filters judge a message for one recipient, and what one store makes of several verdicts."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from mesyx_core.api.message import Message
from mesyx_core.api.roles import Filter, Stage
from mesyx_core.api.verdict import ACCEPT, Verdict

log = logging.getLogger(__name__)

ORDER: Final = {"accept": 0, "hold": 1, "reject": 2, "drop": 3}


async def judge(filters: Mapping[str, Filter], message: Message, stage: Stage) -> Verdict:
    """All filters in the config's order. The first that does not accept has the last word; accepting ones add up."""
    verdict = ACCEPT
    for name, each in filters.items():
        try:
            word = await each.judge(message, stage)
        except Exception as error:
            log.error("filter %s failed: %s", name, type(error).__name__)
            return Verdict(word="reject", temporary=True, reason="a filter failed, try again later")
        verdict = _merge(verdict, word)
        if word.word != "accept":
            return verdict
        message = apply(message, verdict)
    return verdict


def _merge(first: Verdict, second: Verdict) -> Verdict:
    return replace(
        second,
        rewritten=second.rewritten or first.rewritten,
        importance=second.importance or first.importance,
        mailbox=second.mailbox or first.mailbox,
        flags=first.flags | second.flags,
        forward=first.forward + second.forward,
        answer=second.answer or first.answer,
    )


def apply(message: Message, verdict: Verdict) -> Message:
    """The message as its verdict wants it filed."""
    if verdict is ACCEPT:
        return message
    message = verdict.rewritten or message
    return replace(
        message,
        importance=verdict.importance or message.importance,
        mailbox=_mailbox(verdict) or message.mailbox,
        flags=message.flags | verdict.flags,
    )


def _mailbox(verdict: Verdict) -> str | None:
    return {"reject": "Rejected", "hold": "Held"}.get(verdict.word, verdict.mailbox)


def best(verdicts: Sequence[Verdict]) -> Verdict:
    """A store takes a message once, under the kindest of its recipients' verdicts."""
    if len(verdicts) == 1:
        return verdicts[0]
    ranked = sorted(verdicts, key=lambda v: ORDER[v.word])
    return replace(ranked[0], flags=frozenset().union(*(v.flags for v in ranked if v.word == ranked[0].word)))
