"""Sections (RFC 3501, section 6.4.5), by the example that stands there."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from mesyx_core import mime
from mesyx_core.mime.section import What

DATA = b"\r\n".join(
    [
        b"Subject: all", b"Content-Type: multipart/mixed; boundary=A", b"",
        b"--A", b"X: 1", b"", b"one", b"--A", b"Content-Type: application/octet-stream", b"", b"two",
        b"--A", b"Content-Type: message/rfc822", b"",
        b"Subject: three", b"Content-Type: multipart/mixed; boundary=B", b"",
        b"--B", b"X: 3.1", b"", b"three.one", b"--B", b"X: 3.2", b"", b"three.two", b"--B--",
        b"--A", b"Content-Type: message/rfc822", b"X: 4", b"", b"Subject: four", b"", b"four.one",
        b"--A--", b"",
    ]
)  # fmt: skip
ROOT = mime.index(DATA)


def cut(path: Sequence[int], what: What = "") -> bytes | None:
    found = mime.section(ROOT, path, what)
    return None if found is None else DATA[slice(*found)]


@pytest.mark.parametrize(
    ("path", "what", "content"),
    [
        ((), "", DATA),
        ((), "HEADER", b"Subject: all\r\nContent-Type: multipart/mixed; boundary=A\r\n\r\n"),
        ((), "TEXT", DATA[DATA.index(b"--A") :]),
        ((1,), "", b"one"),
        ((1,), "MIME", b"X: 1\r\n\r\n"),
        ((2,), "", b"two"),
        ((3,), "HEADER", b"Subject: three\r\nContent-Type: multipart/mixed; boundary=B\r\n\r\n"),
        ((3,), "MIME", b"Content-Type: message/rfc822\r\n\r\n"),
        ((3,), "TEXT", DATA[DATA.index(b"--B") : DATA.index(b"--B--") + 5]),
        ((3, 1), "", b"three.one"),
        ((3, 2), "MIME", b"X: 3.2\r\n\r\n"),
        ((4,), "", b"Subject: four\r\n\r\nfour.one"),
        ((4,), "HEADER", b"Subject: four\r\n\r\n"),
        ((4,), "TEXT", b"four.one"),
        ((4, 1), "", b"four.one"),
        ((4, 1), "MIME", b"Subject: four\r\n\r\n"),
    ],
)
def test_a_section_is_where_rfc_3501_says(path: tuple[int, ...], what: What, content: bytes) -> None:
    assert cut(path, what) == content


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ((5,), ""), ((0,), ""), ((-1,), ""), ((1, 1), ""), ((1,), "HEADER"), ((2,), "TEXT"), ((3, 3), ""),
        ((4, 2), ""), ((4, 1, 1), ""), ((), "MIME"), ((3, 1), "HEADER"),
    ],
)  # fmt: skip
def test_a_section_that_is_not_there_is_none(path: tuple[int, ...], what: What) -> None:
    assert cut(path, what) is None


def test_number_one_of_a_simple_message_is_its_body() -> None:
    data = b"Subject: x\r\n\r\nbody"
    root = mime.index(data)
    assert mime.section(root, (1,)) == mime.section(root, (), "TEXT") == (14, 18)
    assert mime.section(root, (1,), "MIME") == (0, 14)
    assert mime.section(root, (2,)) is None
    assert mime.section(root, (1, 1)) is None


def test_a_message_that_is_a_message_has_number_one_and_its_parts_below() -> None:
    data = b"Subject: x\r\nContent-Type: message/rfc822\r\n\r\nSubject: y\r\n\r\nbody"
    root = mime.index(data)
    for path, what, content in [
        ((1,), "", b"Subject: y\r\n\r\nbody"),
        ((1,), "HEADER", b"Subject: y\r\n\r\n"),
        ((1,), "TEXT", b"body"),
        ((1, 1), "", b"body"),
    ]:
        found = mime.section(root, path, what)  # type: ignore[arg-type]  # a tuple loses the literal
        assert found is not None
        assert data[slice(*found)] == content
    assert mime.section(root, (), "HEADER") == (0, root.body_start)
