"""Envelopes and structures survive being stored."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesyx_core import mime

value = st.binary(max_size=9)
maybe = st.none() | value
pairs = st.lists(st.tuples(value, value), max_size=2).map(tuple)
addresses = st.lists(st.builds(mime.Address, maybe, maybe, maybe, maybe), max_size=3).map(tuple)
envelopes = st.builds(
    mime.Envelope, maybe, maybe, addresses, addresses, addresses, addresses, addresses, addresses, maybe, maybe
)
LEAF = mime.Part(
    b"image", b"png", ((b"name", b"a.png"), (b"x", b"")), b"<id>", b"a picture", b"base64", b"Q2hlY2s=",
    b"attachment", ((b"filename", b"a.png"),), (b"de", b"en"), b"http://x", 1, 1 << 33, 1 << 40, 17,
)  # fmt: skip
MESSAGE = mime.Part(b"message", b"rfc822", message=mime.Message(mime.envelope(b"From: a@b\r\nTo: c@d\r\n"), LEAF))


@given(envelopes)
def test_an_envelope_comes_back_as_it_was(envelope: mime.Envelope) -> None:
    assert mime.unpack_envelope(mime.pack_envelope(envelope)) == envelope


@pytest.mark.parametrize(
    "part",
    [
        mime.EMPTY,
        LEAF,
        MESSAGE,
        mime.Part(b"multipart", b"mixed", ((b"boundary", b"x"),), parts=(LEAF, MESSAGE, mime.EMPTY)),
        mime.Part(b"multipart", b"mixed"),
        mime.Part(b"", b"", encoding=b"", id=b"", md5=b""),
    ],
)
def test_a_part_comes_back_as_it_was(part: mime.Part) -> None:
    assert mime.unpack_part(mime.pack_part(part)) == part


@given(st.binary(max_size=60))
def test_other_bytes_are_refused(data: bytes) -> None:
    for unpack in (mime.unpack_part, mime.unpack_envelope):
        for version in (b"", b"\x01", b"\x02"):
            with contextlib.suppress(mime.PackError):
                unpack(version + data)


def test_another_version_is_refused() -> None:
    with pytest.raises(mime.PackError):
        mime.unpack_envelope(b"\x02" + mime.pack_envelope(mime.Envelope())[1:])


def test_a_common_envelope_and_structure_are_small() -> None:
    found = mime.summary(b"From: ann@example.org\r\nSubject: hello\r\nContent-Type: text/plain\r\n\r\nx")
    assert len(mime.pack_envelope(found.envelope)) < 50
    assert len(mime.pack_part(found.part)) < 30


def test_the_deepest_structure_comes_back() -> None:
    part = mime.index(b"Content-Type: message/rfc822\r\n\r\n" * 60)
    assert mime.unpack_part(mime.pack_part(part)) == part
