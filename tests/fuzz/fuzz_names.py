"""Hostile names of a store, and policies: their own error or a result, never anything else."""

from __future__ import annotations

import contextlib

from mesyx_core.vault.names import KeysetName, Names, NamesError, NodeName, decode_names, encode_names
from mesyx_core.vault.nodekey import NodeKey
from mesyx_core.vault.policy import PolicyError, parse, planned

NOW = 1_795_000_000

SEEDS: list[bytes] = [
    b"normal: weekly keep 4; high: monthly keep forever",
    b"low,normal: daily keep 30 strict; high: 2026; high:2026-11 ; 2026-01-01..2026-06-30 keep 0",
    encode_names(Names()),
    encode_names(
        Names(
            {NodeKey(b"1" * 32).public: NodeName("laptop", "all")},
            {bytes(32): KeysetName("2026-W48", 1_800_000_000, True), b"k" * 32: KeysetName()},
            "weekly keep 4",
        )
    ),
]


def target(data: bytes) -> None:
    """Read `data` as what holders of a client's key may have sealed, and as what a person may have typed."""
    with contextlib.suppress(NamesError):
        assert encode_names(decode_names(data)) == data
    with contextlib.suppress(PolicyError):
        policy = parse(data.decode("latin-1"))
        assert parse(str(policy)) == policy
        for frame in planned(policy, NOW, 8):
            assert frame.start < frame.end
