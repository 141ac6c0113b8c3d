"""Requests, receipts, recipients of the day and accounts from anyone: refused or read, never anything else."""

from __future__ import annotations

from pathlib import Path

from mesyx_core.record import content, outgoing
from mesyx_core.record.shape import RecordError

_VECTORS = Path(__file__).parents[1] / "vectors" / "content"

SEEDS: list[bytes] = [
    (_VECTORS / f"{name}.cbor").read_bytes()
    for name in (
        "recipients",
        "submission",
        "request-send",
        "request-again",
        "request-drop",
        "intent",
        "receipt",
        "account",
        "account-removed",
    )
]


def target(data: bytes) -> None:
    try:
        told = outgoing.decode(content.unpack(data))
    except RecordError:
        return
    if told is not None:
        again = outgoing.decode(content.unpack(told.pack()))
        assert again is not None
        assert again.pack() == told.pack()
        if isinstance(told, outgoing.Request):
            assert len(told.numbered) <= outgoing.MAX_RECIPIENTS
