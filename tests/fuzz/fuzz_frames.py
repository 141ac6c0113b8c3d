"""The exchange's frames, and the session that takes them from a stranger and from a member."""

from __future__ import annotations

from mesyx_core.exchange import frames
from mesyx_core.exchange.compare import Comparison
from mesyx_core.exchange.errors import Violation
from mesyx_core.exchange.session import MAX_QUEUED, Phase, Session
from mesyx_core.record.digest import Head

_A, _B = bytes(32), bytes(range(32))
_RUN = bytes(16)
_HEADS = [Head(_A, bytes([n]) * 16, n + 1, _B) for n in range(20)]

SEEDS: list[bytes] = [
    frames.pack(frame)
    for frame in (
        frames.End(1, "why"),
        frames.Hello((1,), _RUN),
        frames.Open(1, _A, bytes(64), _B, (_A, _B), _A),
        frames.Join(1, _A, bytes(64), _B, _RUN),
        frames.Heads((_A,)),
        frames.Lack((_A, _B)),
        frames.Documents((b"document",), False),
        frames.Same(),
        frames.Ranges("", (_A,) * 16),
        frames.Equal("a", 0xFFFF),
        frames.Logs("", ((_A, _RUN, 5, _B),), True),
        frames.Ids(_A, _RUN, 3, _A + _B, b"checkpoint", True),
        frames.Entries(_A, _RUN, 3, ((b"header", b"payload"), (b"header", None)), b"checkpoint"),
        frames.Have(_A, _RUN, 7),
        frames.Want(_A, _RUN, 7),
        frames.Decline(_A, _RUN, 1),
        frames.Ask(_A, 0, 65536),
        frames.Piece(_A, 0, b"data"),
        frames.Absent(_A),
        frames.Lacking(_A, bytes(16), (1, 5)),
        frames.Payloads(_A, bytes(16), ((1, b"payload"), (5, None))),
        frames.Arrived(_A),
        frames.Ping(1),
        frames.Pong(1),
        frames.About("age1pq1", "mx1", ("accept",), ("alice@example.org",), "age1pq1"),
        frames.Present(_A, b"keys", "alice"),
        frames.Joined(),
        frames.Signal(_A, _B, _RUN, 0, 1_800_000_000, 4, bytes(64), b"sealed"),
    )
]


def target(data: bytes) -> None:
    """Whatever comes, a session yields frames or a Violation, and answers within bounds."""
    for phase in (Phase.OPENING, Phase.MANIFESTS, Phase.RUNNING, Phase.JOINING):
        session = Session(dialled=False, server=_A, nonce=_RUN)
        session.take()
        session.phase = phase
        session.compare(Comparison(_B, _HEADS))
        try:
            for frame in session.receive(data):
                assert frames.unpack(frames.pack(frame)[4:]) == frame
        except Violation:
            pass
        assert len(session.take()) <= MAX_QUEUED + frames.MAX_FRAME
