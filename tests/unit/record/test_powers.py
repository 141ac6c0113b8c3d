"""Which role may write what: the table, cell by cell, and nothing beside it."""

from __future__ import annotations

from typing import get_args

import pytest

from mesyx_core.api.message import Kind as MessageKind
from mesyx_core.record import powers
from mesyx_core.record.content import Inner
from mesyx_core.record.entry import Kind

ROLES = ("accept", "exchange", "client", "reencrypt")
KINDS = {
    #              accept, exchange, client, reencrypt
    "START": (True, True, True, True),
    "EPOCH": (True, False, True, False),
    "SEALED": (True, False, True, False),
    "CLOSE": (True, False, True, False),
    "RESEAL": (False, False, True, True),
    "PURGE": (False, False, True, True),
    "VETO": (False, False, True, False),
    "END": (True, True, True, True),
}
CONTENT = {
    "mail": (True, False, True, False),
    "line": (True, False, True, False),
    "event": (True, False, True, False),
    "post": (True, False, True, False),
    "receipt": (True, False, False, False),
    "intent": (True, False, False, False),
    "recipients": (True, False, False, False),
    "op": (False, False, True, False),
    "snapshot": (False, False, True, False),
    "submission": (False, False, True, False),
    "request": (False, False, True, False),
    "account": (False, False, True, False),
}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_role_writes_entries_of_these_kinds_alone(kind: str, role: str) -> None:
    assert powers.may_write(Kind[kind], frozenset((role,))) is KINDS[kind][ROLES.index(role)]


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("kind", CONTENT)
def test_a_role_seals_content_of_these_kinds_alone(kind: str, role: str) -> None:
    assert powers.may_seal(kind, frozenset((role,))) is CONTENT[kind][ROLES.index(role)]


def test_every_kind_stands_in_the_table() -> None:
    assert set(KINDS) == {kind.name for kind in Kind} == {Kind(kind).name for kind in powers.WRITTEN}
    assert set(CONTENT) == {*get_args(Inner), *get_args(MessageKind)} == set(powers.SEALED)


def test_without_a_role_nothing_may_be_written_and_with_several_what_any_of_them_may() -> None:
    assert not any(powers.may_write(kind, frozenset()) for kind in Kind)
    assert not any(powers.may_seal(kind, frozenset()) for kind in CONTENT)
    assert powers.may_write(Kind.PURGE, frozenset(ROLES))
    assert powers.may_seal("op", frozenset(("exchange", "client")))


def test_what_this_version_does_not_know_is_passed_on_and_never_opened() -> None:
    assert powers.may_write(99, frozenset(("exchange",)))
    assert not powers.may_seal("spell", frozenset(ROLES))
