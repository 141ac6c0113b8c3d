"""A filter with every ability that a filter can have: what it does to a message stands in the sender's name."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from pydantic import BaseModel, ConfigDict, JsonValue

from mesyx_core.api import ACCEPT, Bytes, Context, Message, Provider, Refused, Stage, Verdict


class WordsConfig(BaseModel):
    """`[filter.words]`"""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    domain: str = "words.example"
    """Senders at this domain name what is done: `reject@words.example`."""


class Words:
    """Implements `api.Filter`. A script is a list of senders that are rejected."""

    def __init__(self, config: WordsConfig) -> None:
        self._domain = config.domain

    async def judge(self, message: Message, stage: Stage, script: JsonValue = None) -> Verdict:
        if script is not None:
            if not isinstance(script, list) or not all(isinstance(each, str) for each in script):
                raise Refused("a script is a list of senders")
            if message.sender in script:
                return Verdict(word="reject", reason="by your own script")
        name, _, domain = message.sender.partition("@")
        return self._verdict(name, message) if domain == self._domain else ACCEPT

    def _verdict(self, name: str, message: Message) -> Verdict:
        match name:
            case "reject":
                return Verdict(word="reject", reason="as asked")
            case "drop":
                return Verdict(word="drop", reason="as asked")
            case "hold":
                return Verdict(word="hold", reason="as asked")
            case "mark":
                return Verdict(importance="low", mailbox="Junk", flags=frozenset({"$Junk"}))
            case "rewrite":
                return Verdict(rewritten=replace(message, body=Bytes(b"Subject: rewritten\r\n\r\n")))
            case "forward":
                return Verdict(forward=("carol@example.net",))
            case "answer":
                reply = replace(
                    message, direction="out", sender="", recipients=(message.sender,), body=Bytes(b"Away\r\n")
                )
                return Verdict(answer=reply)
        return ACCEPT


@asynccontextmanager
async def open_words(config: WordsConfig, context: Context) -> AsyncIterator[Words]:
    """Opens the filter."""
    yield Words(config)


def filter_() -> Provider:
    """`words`"""
    return Provider(name="words", config=WordsConfig, open=open_words, summary="Does what the sender's name says")
