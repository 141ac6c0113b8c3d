"""What is sealed in a signal, as another member may have written it."""

from __future__ import annotations

from mesyx_core.exchange import signal
from mesyx_core.exchange.frames import Signal
from mesyx_core.record.shape import RecordError
from mesyx_core.vault.encoding import encode

_STORE, _TARGET, _ORIGIN, _ID = (bytes([n]) * size for n, size in ((1, 32), (2, 32), (3, 32), (4, 16)))
_FRAME = Signal(_TARGET, _ORIGIN, _ID, 0, 1_800_000_000, 4, bytes(64), b"")

SEEDS: list[bytes] = [
    encode([2, _STORE, _ORIGIN, _TARGET, _ID, 0, word, name, value, patience, 1_800_000_000])
    for word, name, value, patience in (
        ("ask", "status", None, 2000),
        ("ask", "account", ["libera", "whois", {"nick": "bob", "deep": [[[1.5, True]]]}], 120_000),
        ("reply", "status", {"version": "1", "instances": [{"instance": "ingress.mx", "state": "up"}]}, 0),
        ("fail", "", ["refused", "what", "remedy"], 0),
        ("tell", "lease", 60, 0),
        ("stop", "", None, 0),
    )
]


def target(data: bytes) -> None:
    """It is said by whom and to whom the frame says, in a form that JSON has, or it is refused."""
    try:
        body = signal.read(data, _FRAME, _STORE)
    except RecordError:
        return
    assert (body.store, body.origin, body.target, body.id, body.number) == (_STORE, _ORIGIN, _TARGET, _ID, 0)
    assert len(body.name) <= signal.MAX_NAME
    assert body.patience <= signal.MAX_PATIENCE
