"""What every provider promises, whatever its role: a strict config, and to open and close without a trace."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Any, ClassVar, Final

import anyio
from pydantic import BaseModel, SecretBytes, SecretStr, ValidationError

from mesyx_core.api import Provider
from mesyx_core.config import SectionKind
from mesyx_core.config.refusal import members, nested
from mesyx_core.plugins.shape import misfits
from mesyx_core.testing.contract import refused
from mesyx_core.testing.contracts.abilities import AccountsContract, AnswersContract, ControlledContract

NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,30}")
SECRET: Final = re.compile(r"(^|_)(password|passphrase|secret|token|api_key|private_key)$")
OPEN_SECONDS: Final = 1.0


class ProviderContract(AnswersContract, ControlledContract, AccountsContract, defines=True):
    """The part of every role's contract; subclass that of a role."""

    kind: ClassVar[SectionKind]

    async def test_it_is_named_and_described(self) -> None:
        provider = self.provider
        assert isinstance(provider, Provider)
        assert NAME.fullmatch(provider.name), f"{provider.name!r}: lower case, digits, - and _"
        assert 0 < len(provider.summary) <= 100, "a summary of up to 100 characters is shown to people"
        assert "\n" not in provider.summary

    async def test_an_unknown_key_is_refused(self) -> None:
        with refused(ValidationError):
            self.settings(no_such_key_at_all=1)
        for model in models(self.provider.config):
            assert model.model_config.get("extra") == "forbid", f'{model.__name__} needs ConfigDict(extra="forbid")'
            assert "use" not in model.model_fields, "use names the plugin"

    async def test_every_key_is_explained(self) -> None:
        for model in models(self.provider.config):
            for name, field in model.model_fields.items():
                assert nested(field) or field.description, f"{model.__name__}.{name} needs a docstring"

    async def test_secrets_are_of_a_type_that_is_not_shown(self) -> None:
        for model in models(self.provider.config):
            for name, field in model.model_fields.items():
                if SECRET.search(name):
                    kinds = members(field.annotation)
                    assert SecretStr in kinds or SecretBytes in kinds, f"{model.__name__}.{name} must be a SecretStr"

    async def test_the_same_config_is_equal(self) -> None:
        """Else every reload would restart it."""
        assert self.settings() == self.settings()

    async def test_it_has_the_methods_of_its_role(self) -> None:
        async with self.opened() as (role, _):
            assert misfits(self.kind, role) == []

    async def test_opening_neither_dials_nor_listens_nor_takes_long(self) -> None:
        with anyio.fail_after(OPEN_SECONDS):
            async with self.opened() as (_, context):
                assert context.dialled == [], "dial in run, not in open"
                assert context.bound == [], "listen in run, not in open"
                assert context.reported == [], "report from run, not from open"

    async def test_two_can_be_open_at_once(self) -> None:
        async with self.opened() as (one, _), self.opened() as (other, _):
            assert one is not other
            assert misfits(self.kind, other) == []

    async def test_nothing_goes_on_once_it_is_closed(self) -> None:
        before = len(asyncio.all_tasks())
        async with self.opened():
            pass
        await anyio.sleep(0.01)
        assert len(asyncio.all_tasks()) <= before, "a task goes on"

    async def test_a_fault_while_it_is_open_goes_through(self) -> None:
        with refused(ZeroDivisionError):
            async with self.opened():
                raise ZeroDivisionError


def models(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """A config model and all those inside it."""
    yield model
    for field in model.model_fields.values():
        inner: Any = nested(field)
        if inner is not None:
            yield from models(inner)
