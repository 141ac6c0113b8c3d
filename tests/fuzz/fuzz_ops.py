"""Batches of ops from anyone: refused or read, never anything else."""

from __future__ import annotations

from mesyx_core.record import ops
from mesyx_core.record.ops import Batch, CreateOp, Dot, FileOp, FlagOp, NameOp, Off, Span, SubscribeOp

_NODE, _RUN = b"n" * 32, b"r" * 16
_DOTS = ops.dot_spans([Dot(_NODE, _RUN, 7, 1), Dot(_NODE, _RUN, 9, 2)])
_ENTRIES = (Span(_NODE, _RUN, 2, 40), Span(_NODE, _RUN, 50, 1))

SEEDS: list[bytes] = [
    ops.encode(Batch(1 << 40, (FlagOp(_ENTRIES, frozenset(("\\Seen",)), (Off("$Work", True, _DOTS),)),))),
    ops.encode(Batch(5, (FileOp(_ENTRIES, frozenset((b"m" * 16,)), (Off(b"i" * 16, True, _DOTS),)),))),
    ops.encode(Batch(5, (CreateOp("Notes"), NameOp(b"m" * 16, "Other", _DOTS), SubscribeOp("a/b", True, True, _DOTS)))),
]


def target(data: bytes) -> None:
    try:
        batch = ops.decode(data)
    except ops.OpsError:
        return
    assert ops.decode(ops.encode(batch)) == batch
