"""Where mail may go: to no server that is only reached from this machine, whatever a stranger's DNS says."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from mesyx_smtp.egress.route import Exchange, Unroutable, hosts, inward

INNER = ["127.0.0.1", "127.8.9.10", "::1", "169.254.169.254", "fe80::1", "::ffff:127.0.0.1", "0.0.0.0", "::"]
MX = Exchange(10, "mx.example.net")


class Told:
    """DNS that says what it is told. Implements `route.Dns`."""

    def __init__(self, *found: str) -> None:
        self.found = found

    async def exchanges(self, domain: str) -> Sequence[Exchange]:
        return [MX]

    async def addresses(self, host: str) -> Sequence[str]:
        return self.found


def found(*addresses: str, inner: bool = False) -> list[str]:
    return asyncio.run(hosts(Told(*addresses), MX, bytes, inner=inner))


@pytest.mark.parametrize("address", INNER)
def test_a_mail_exchanger_is_never_this_machine_or_its_link(address: str) -> None:
    assert inward(address)
    assert found(address, "192.0.2.25") == ["192.0.2.25"]
    with pytest.raises(Unroutable) as refused:
        found(address)
    assert refused.value.fate.word == "unfit"


def test_networks_of_one_s_own_are_served_and_tests_reach_this_machine() -> None:
    assert found("10.0.0.25") == ["10.0.0.25"]
    assert found("127.0.0.1", inner=True) == ["127.0.0.1"]
