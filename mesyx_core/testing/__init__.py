"""For tests, of the core and of plugins: contracts that certify a plugin, and stand-ins for all that it works with.

A plugin author subclasses the contract of a role; see docs/tutorial/write-a-plugin.md. Needs `mesyx[testing]`, though
nothing here imports pytest.
"""

import sys

if pytest := sys.modules.get("pytest"):  # asserts of the contracts say what they compared
    pytest.register_assert_rewrite("mesyx_core.testing.contract", "mesyx_core.testing.contracts")

from mesyx_core.testing.clock import Clock
from mesyx_core.testing.context import StandIn
from mesyx_core.testing.contract import Contract, Open, refused, soon
from mesyx_core.testing.contracts.access import AccessContract
from mesyx_core.testing.contracts.commands import CommandContract
from mesyx_core.testing.contracts.crypto import CryptoContract
from mesyx_core.testing.contracts.egress import EgressContract, Fate, Network
from mesyx_core.testing.contracts.filter import FilterContract
from mesyx_core.testing.contracts.ingress import IngressContract, Offer
from mesyx_core.testing.contracts.transport import DialerContract, DuplexContract, SimplexContract
from mesyx_core.testing.samples import mail, samples
from mesyx_core.testing.script import play

__all__ = [
    "AccessContract",
    "Clock",
    "CommandContract",
    "Contract",
    "CryptoContract",
    "DialerContract",
    "DuplexContract",
    "EgressContract",
    "Fate",
    "FilterContract",
    "IngressContract",
    "Network",
    "Offer",
    "Open",
    "SimplexContract",
    "StandIn",
    "mail",
    "play",
    "refused",
    "samples",
    "soon",
]
