"""What an opened provider may be able to do besides its role, each ability declared or absent."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Any, ClassVar, Final, cast

import anyio
from pydantic import JsonValue, ValidationError

from mesyx_core.api import Answers, Controlled, MesyxError
from mesyx_core.testing.contract import Contract, holds, lacks, refused

ANSWER_SECONDS: Final = 5.0
MOST: Final = 10_000
"""Values of one answer."""


async def values(answers: AsyncIterator[JsonValue]) -> list[JsonValue]:
    """All values of an answer that ends, each fit to travel."""
    found: list[JsonValue] = []
    with anyio.fail_after(ANSWER_SECONDS):
        async for value in answers:
            json.dumps(value)
            found.append(value)
            assert len(found) <= MOST, "an answer must end"
    return found


async def is_refused(answers: AsyncIterator[JsonValue]) -> None:
    """Something it cannot do must be told by an error that a person can read."""
    with refused(MesyxError):
        await values(answers)


async def given_up(answers: AsyncIterator[JsonValue]) -> None:
    """Take one value and leave."""
    async with aclosing(cast(Any, answers)) as going:
        with anyio.fail_after(ANSWER_SECONDS):
            await anext(going)


class AnswersContract(Contract, defines=True):
    """`api.Answers`: requests from clients."""

    KNOWN = {"answers": "answers requests from clients (api.Answers)"}
    question: ClassVar[tuple[str, JsonValue]]
    """A request that it answers with at least one value: name and value."""

    @holds("answers")
    async def test_a_question_is_answered(self) -> None:
        async with self.opened() as (role, _):
            assert isinstance(role, Answers)
            assert await values(role.answer(*self.question))

    @holds("answers")
    async def test_an_unknown_question_is_refused(self) -> None:
        async with self.opened() as (role, _):
            await is_refused(role.answer("no-such-question-at-all", None))

    @holds("answers")
    async def test_an_answer_may_be_given_up(self) -> None:
        async with self.opened() as (role, _):
            await given_up(role.answer(*self.question))
            assert await values(role.answer(*self.question))

    @lacks("answers")
    async def test_it_does_not_claim_to_answer(self) -> None:
        async with self.opened() as (role, _):
            assert not isinstance(role, Answers), 'it has answer(): declare "answers"'


class ControlledContract(Contract, defines=True):
    """`api.Controlled`: its plugin's own commands."""

    KNOWN = {"controlled": "answers its own plugin's commands (api.Controlled)"}
    order: ClassVar[tuple[str, JsonValue]]
    """A verb that it obeys and answers, and the verb's value."""

    @holds("controlled")
    async def test_an_order_is_obeyed(self) -> None:
        async with self.opened() as (role, _):
            assert isinstance(role, Controlled)
            assert await values(role.control(*self.order))

    @holds("controlled")
    async def test_an_unknown_order_is_refused(self) -> None:
        async with self.opened() as (role, _):
            await is_refused(role.control("no-such-verb-at-all", None))

    @holds("controlled")
    async def test_an_order_may_be_given_up(self) -> None:
        async with self.opened() as (role, _):
            await given_up(role.control(*self.order))
            assert await values(role.control(*self.order))

    @lacks("controlled")
    async def test_it_does_not_claim_to_be_controlled(self) -> None:
        async with self.opened() as (role, _):
            assert not isinstance(role, Controlled), 'it has control(): declare "controlled"'


class AccountsContract(Contract, defines=True):
    """`Provider.account` and `Provider.open_account`: a person's own log-ins, opened while the instance is."""

    KNOWN = {"accounts": "opens a person's own accounts (Provider.account, Provider.open_account)"}
    account: ClassVar[Mapping[str, Any]]
    """Settings and secrets of an account as `mesyx account add` takes them."""

    @asynccontextmanager
    async def account_opened(self, role: Any) -> AsyncIterator[Any]:
        """An account of the opened `role`, with a node of its own to see."""
        made = self.provider.open_account
        assert made is not None
        assert self.provider.account is not None
        async with (
            self.context() as context,
            made(role, self.provider.account.model_validate(dict(self.account)), context) as account,
        ):
            yield account

    @holds("accounts")
    async def test_an_account_opens_and_closes(self) -> None:
        async with self.opened() as (role, _):
            for _ in range(2):
                async with self.account_opened(role) as account:
                    assert account is not None

    @holds("accounts")
    async def test_two_accounts_can_be_open_at_once(self) -> None:
        async with self.opened() as (role, _), self.account_opened(role) as one, self.account_opened(role) as other:
            assert one is not other

    @holds("accounts")
    async def test_an_account_with_an_unknown_setting_is_refused(self) -> None:
        assert self.provider.account is not None
        assert self.provider.account.model_config.get("extra") == "forbid"
        with refused(ValidationError):
            self.provider.account.model_validate({**self.account, "no_such_setting_at_all": 1})

    @holds("accounts")
    async def test_the_same_account_is_equal(self) -> None:
        """Else it would be opened anew at every look."""
        assert self.provider.account is not None
        assert self.provider.account.model_validate(dict(self.account)) == self.provider.account.model_validate(
            dict(self.account)
        )

    @lacks("accounts")
    async def test_it_does_not_claim_to_have_accounts(self) -> None:
        assert self.provider.account is None, 'it has an account model: declare "accounts"'
        assert self.provider.open_account is None
