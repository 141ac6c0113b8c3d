"""The MIME structure of a message by byte offsets: one pass, nothing decoded."""

from __future__ import annotations

from mesyx_core.mime.model import Envelope, Limits, Part, Summary


def index(data: bytes, limits: Limits = Limits()) -> Part:
    """The part tree of a whole message. Takes any bytes, with CR LF or bare LF, and never raises."""
    return Part(end=len(data))


def envelope(data: bytes, limits: Limits = Limits()) -> Envelope:
    """The envelope of a whole message's header. Takes any bytes."""
    return Envelope()


def summary(data: bytes, limits: Limits = Limits()) -> Summary:
    """Envelope, structure, date and ids of a whole message in one pass. Takes any bytes and never raises."""
    return Summary(Envelope(), index(data, limits), None, "", (), (0, 0))
