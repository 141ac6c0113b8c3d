"""The contract of a plugin's own commands."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, ClassVar

from pydantic import JsonValue, ValidationError

from mesyx_core.api import Command, Refused
from mesyx_core.testing.contract import Contract, holds, lacks, refused
from mesyx_core.testing.contracts.provider import models


class Console:
    """Implements `api.Control`: an instance that answers by a script, and what it was asked."""

    def __init__(self, answers: Mapping[str, Sequence[JsonValue]]) -> None:
        self._answers = answers
        self.asked: list[tuple[str, str, JsonValue]] = []

    async def call(self, instance: str, verb: str, value: JsonValue) -> AsyncIterator[JsonValue]:
        self.asked.append((instance, verb, value))
        if verb not in self._answers:
            raise Refused(f"it knows no verb {verb}")
        for answer in self._answers[verb]:
            yield answer


class CommandContract(Contract, defines=True):
    """`api.Command`: one command of a plugin's own, as `mesyx_commands` declares it."""

    KNOWN = {"asks": "asks a running instance (api.Control)"}
    command: ClassVar[Command]
    """What is certified."""
    name: ClassVar[str]
    """The plugin's entry point."""
    arguments: ClassVar[Mapping[str, Any]] = {}
    """Arguments with which it succeeds."""
    answers: ClassVar[Mapping[str, Sequence[JsonValue]]] = {}
    """What the instance answers to each verb that it is asked with them."""

    async def test_its_first_word_is_the_plugins_name(self) -> None:
        assert self.command.words[0] == self.name
        assert len(self.command.words) >= 2, "the name, and a verb"
        assert all(word == word.lower() and word.isprintable() and " " not in word for word in self.command.words)

    async def test_it_is_explained(self) -> None:
        assert self.command.help.strip(), "help is shown to people"
        for model in models(self.command.arguments):
            for name, field in model.model_fields.items():
                assert field.description, f"{name} needs a docstring"

    async def test_an_unknown_argument_is_refused(self) -> None:
        with refused(ValidationError):
            self.command.arguments.model_validate({**self.arguments, "no_such_argument_at_all": 1})

    async def test_it_ends_with_an_exit_code(self) -> None:
        assert await self._run(Console(self.answers)) == 0

    @holds("asks")
    async def test_it_asks_the_instance(self) -> None:
        console = Console(self.answers)
        await self._run(console)
        assert {verb for _, verb, _ in console.asked} == self.answers.keys()

    @holds("asks")
    async def test_what_the_instance_refuses_is_told(self) -> None:
        """By an error that a person can read, or by its exit code."""
        try:
            code = await self._run(Console({}))
        except Refused:
            return
        assert code != 0

    @lacks("asks")
    async def test_it_asks_nobody(self) -> None:
        console = Console(self.answers)
        await self._run(console)
        assert console.asked == [], 'declare "asks"'

    async def _run(self, console: Console) -> int:
        code = await self.command.run(self.command.arguments.model_validate(dict(self.arguments)), console)
        assert isinstance(code, int)
        return code
