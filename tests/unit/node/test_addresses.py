"""Addresses: granted by the operator alone, compared as people mean them, never two stores' at once."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from mesyx_core.api import Refused
from mesyx_core.node.addresses import Addresses
from mesyx_core.wire.addresses import normal
from tests.unit.node.kit import MemoryRows


def granted(*addresses: str) -> Addresses:
    made = Addresses(MemoryRows())  # type: ignore[arg-type]
    anyio.run(made.grant, list(addresses), b"a" * 32)
    return made


@pytest.mark.parametrize(
    "given", ["alice@example.org", "Alice@Example.ORG", "alice+lists@example.org", "<alice@example.org>"]
)
def test_case_and_tag_lead_to_the_same_store(given: str) -> None:
    assert granted("alice@example.org").find(given) == b"a" * 32


@pytest.mark.parametrize("given", ["alice", "@example.org", "alice@", "al ice@example.org", "a" * 400 + "@x.org", ""])
def test_what_is_no_address_leads_nowhere_and_is_not_granted(given: str) -> None:
    assert granted().find(given) is None
    with pytest.raises(Refused):
        normal(given)


@pytest.mark.parametrize(
    "given",
    [
        "j\u00f6rg@b\u00fccher.example",
        "jo\u0308rg@xn--bcher-kva.example",
        "J\u00d6RG+x@XN--BCHER-KVA.example",
        "j\u00f6rg@BU\u0308CHER.example",
    ],
)
def test_two_spellings_of_an_internationalised_address_are_one(given: str) -> None:
    assert granted("j\u00f6rg@b\u00fccher.example").find(given) == b"a" * 32
    assert granted(given).find("j\u00f6rg@b\u00fccher.example") == b"a" * 32


def test_a_capital_whose_small_letter_composes_with_its_mark_is_that_letter() -> None:
    """There is a small t with diaeresis, and no capital one."""
    assert normal("T\u0308om@b\u00fccher.example") == normal("\u1e97om@b\u00fccher.example")


@pytest.mark.parametrize(
    "given", ["a@xn--a.example", "a@b\u00fc..example", "a@xn--" + "a" * 5000, "a@" + "\u00fc" * 300]
)
def test_a_domain_that_idna_does_not_allow_leads_nowhere(given: str) -> None:
    assert granted().find(given) is None
    with pytest.raises(Refused):
        normal(given)


def test_an_address_of_one_store_is_not_given_to_another() -> None:
    addresses = granted("alice@example.org")
    with pytest.raises(Refused, match="another store"):
        anyio.run(addresses.grant, ["new@example.org", "ALICE@example.org"], b"b" * 32)
    assert addresses.find("new@example.org") is None


def test_grants_survive_a_restart_and_revoked_ones_do_not_return() -> None:
    rows: Any = MemoryRows()

    async def main() -> Addresses:
        first = Addresses(rows)
        await first.grant(["a@x.org", "b@x.org"], b"a" * 32)
        await first.revoke("A+tag@x.org")
        second = Addresses(rows)
        await second.load()
        return second

    assert anyio.run(main).of(b"a" * 32) == ["b@x.org"]
