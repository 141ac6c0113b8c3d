"""The part tree and its offsets. What odd messages give was compared with Dovecot 2.3, part by part."""

from __future__ import annotations

from typing import TypeAlias

import pytest

from mesyx_core import mime

Tree: TypeAlias = "tuple[bytes, bytes | list[Tree]]"


def message(*lines: bytes) -> bytes:
    return b"\r\n".join(lines)


def multipart(*lines: bytes) -> bytes:
    return message(b"Content-Type: multipart/mixed; boundary=foo", b"", *lines)


def tree(data: bytes, part: mime.Part | None = None) -> Tree:
    """Each part as its type and its body, parts or message."""
    part = part or mime.index(data)
    name = part.type + b"/" + part.subtype
    if part.message is not None:
        return name, [tree(data, part.message.part)]
    if part.type == b"multipart":
        return name, [tree(data, child) for child in part.parts]
    return name, data[part.body_start : part.end]


def text(body: bytes) -> Tree:
    return b"text/plain", body


def mixed(*parts: Tree) -> Tree:
    return b"multipart/mixed", list(parts)


def test_a_simple_message_is_one_part() -> None:
    data = b"Subject: x\r\nContent-Type: text/html; charset=utf-8\r\n\r\none\r\ntwo"
    part = mime.index(data)
    assert (part.type, part.subtype, part.params) == (b"text", b"html", ((b"charset", b"utf-8"),))
    assert (part.header_start, part.body_start, part.end) == (0, len(data) - 8, len(data))
    assert (part.size, part.lines) == (8, 1)


@pytest.mark.parametrize("data", [b"", b"\r\n", b"\n", b"a", b"a: b", b"a: b\r\n", b"\r\n\r\n", b"\r", b"\0"])
def test_any_bytes_are_a_message(data: bytes) -> None:
    part = mime.index(data)
    assert (part.type, part.subtype, part.end) == (b"text", b"plain", len(data))


def test_the_line_end_before_a_delimiter_belongs_to_it() -> None:
    data = multipart(b"preamble", b"--foo", b"", b"one", b"", b"--foo", b"A: b", b"", b"two", b"--foo--", b"epilogue")
    assert tree(data) == mixed(text(b"one\r\n"), text(b"two"))
    assert tree(data.replace(b"\r\n", b"\n")) == mixed(text(b"one\n"), text(b"two"))
    assert mime.index(data).end == len(data)


def test_a_header_keeps_its_empty_line() -> None:
    data = multipart(b"--foo", b"Content-Type: text/html", b"", b"two", b"--foo--")
    (part,) = mime.index(data).parts
    assert data[part.header_start : part.body_start] == b"Content-Type: text/html\r\n\r\n"


@pytest.mark.parametrize(
    ("lines", "parts"),
    [
        ((b"hi",), ()),
        ((b"hi", b"--foo--", b""), ()),
        ((b"--foo", b"--foo", b"--foo--"), (text(b""), text(b""))),
        ((b"--foo", b"", b"hello", b""), (text(b"hello\r\n"),)),
        ((b"--foo", b"", b"x", b"--foo"), (text(b"x"),)),
        ((b"--foo", b"Content-Type: text/html"), ((b"text/html", b""),)),
        ((b"--foo", b"Content-Type: text/html", b"--foo", b"", b"x", b"--foo--"), ((b"text/html", b""), text(b"x"))),
        (
            (b"--foo bar", b"", b"x", b"--foobaz", b"", b"y", b"--foo--zz", b"--foo", b"", b"z"),
            (text(b"x"), text(b"y")),
        ),
        ((b"--foo  ", b"", b"x", b"-- foo--", b""), (text(b"x\r\n-- foo--\r\n"),)),
    ],
)
def test_odd_delimiters_give_the_parts_that_dovecot_sees(lines: tuple[bytes, ...], parts: tuple[Tree, ...]) -> None:
    assert tree(multipart(*lines)) == mixed(*parts)


def test_of_boundaries_that_begin_alike_the_longest_counts() -> None:
    for inner in (b"foobar", b"fo"):
        lines = (b"--" + inner, b"", b"x", b"--" + inner + b"--")
        data = multipart(b"--foo", b"Content-Type: multipart/mixed; boundary=" + inner, b"", *lines, b"--foo--")
        assert tree(data) == mixed(mixed(text(b"x")))


def test_of_equal_boundaries_the_innermost_counts() -> None:
    inner = (b"--foo", b"", b"x", b"--foo--")
    data = multipart(b"--foo", b"Content-Type: multipart/mixed; boundary=foo", b"", *inner, b"--foo", b"", b"y")
    assert tree(data) == mixed(mixed(text(b"x")), text(b"y"))


def test_an_outer_delimiter_ends_what_is_open_inside() -> None:
    inner = (b"--foo", b"Content-Type: multipart/mixed; boundary=bar", b"", b"--bar", b"", b"x")
    assert tree(multipart(*inner, b"--foo", b"", b"y", b"--bar", b"--foo--")) == mixed(
        mixed(text(b"x")), text(b"y\r\n--bar")
    )


@pytest.mark.parametrize("boundary", [b"", b"; boundary=", b'; boundary=""', b'; boundary="  "'])
def test_a_multipart_without_a_boundary_has_no_parts(boundary: bytes) -> None:
    part = mime.index(b"Content-Type: multipart/mixed" + boundary + b"\r\n\r\n--\r\n\r\nx\r\n----\r\n")
    assert (part.type, part.parts) == (b"multipart", ())


def test_spaces_at_the_end_of_a_boundary_do_not_count() -> None:
    data = b'Content-Type: multipart/mixed; boundary="foo "\r\n\r\n--foo\r\n\r\nx\r\n--foo--\r\n'
    assert tree(data) == mixed(text(b"x"))


def test_a_message_inside_has_its_own_envelope_and_structure() -> None:
    inner = message(b"Subject: x", b"Content-Type: multipart/mixed; boundary=q", b"", b"--q", b"", b"y", b"--q--")
    data = multipart(b"--foo", b"Content-Type: message/rfc822", b"", inner, b"--foo--")
    (part,) = mime.index(data).parts
    assert part.message is not None
    assert part.message.envelope.subject == b"x"
    assert tree(data) == mixed((b"message/rfc822", [mixed(text(b"y"))]))
    assert (part.message.part.header_start, part.message.part.end) == (part.body_start, part.end)
    assert part.lines == 6


def test_a_message_inside_may_be_empty_or_all_header() -> None:
    for body in (b"", b"Subject: x\r\n"):
        data = multipart(b"--foo", b"Content-Type: message/rfc822", b"", body + b"--foo--")
        assert tree(data) == mixed((b"message/rfc822", [text(b"")]))
        (part,) = mime.index(data).parts
        assert part.size == len(body)


def test_parts_of_a_digest_are_messages_unless_they_say_otherwise() -> None:
    lines = (b"--foo", b"", b"Subject: x", b"", b"body", b"--foo", b"Content-Type: text/plain", b"", b"zz", b"--foo--")
    data = message(b"Content-Type: multipart/digest; boundary=foo", b"", *lines)
    assert tree(data) == (b"multipart/digest", [(b"message/rfc822", [text(b"body")]), text(b"zz")])


@pytest.mark.parametrize("encoding", [b"base64", b"Quoted-Printable", b"x-uuencode"])
def test_an_encoded_message_is_not_looked_into(encoding: bytes) -> None:
    data = message(b"Content-Type: message/rfc822", b"Content-Transfer-Encoding: " + encoding, b"", b"U3ViamVjdDogeA==")
    part = mime.index(data)
    assert tree(data) == (b"application/octet-stream", b"U3ViamVjdDogeA==")
    assert part.message is None


def test_other_messages_are_leaves() -> None:
    for subtype in (b"global", b"partial", b"delivery-status", b"external-body"):
        part = mime.index(b"Content-Type: message/" + subtype + b"\r\n\r\nSubject: x\r\n\r\nfoo")
        assert (part.subtype, part.message, part.parts) == (subtype, None, ())


def test_a_part_has_all_that_bodystructure_shows() -> None:
    part = mime.index(
        message(
            b"Content-Type: IMAGE/Png; Name=a.png (comment)",
            b"Content-Transfer-Encoding: BASE64 (yes)",
            b"Content-ID: <foo>",
            b"Content-Description: a =?utf-8?q?b?=",
            b" c",
            b"Content-Disposition: INLINE; FileName*0*=utf-8''a; filename*1=b",
            b"Content-Language: de , en (english), ",
            b"Content-Location: http://x",
            b"Content-MD5: Q2hlY2s=",
            b"",
            b"",
        )
    )
    assert part[:11] == (
        b"image",
        b"png",
        ((b"name", b"a.png"),),
        b"<foo>",
        b"a =?utf-8?q?b?= c",
        b"base64",
        b"Q2hlY2s=",
        b"inline",
        ((b"filename*0*", b"utf-8''a"), (b"filename*1", b"b")),
        (b"de", b"en"),
        b"http://x",
    )


def test_of_two_content_types_the_first_counts() -> None:
    assert mime.index(b"Content-Type: text/html\r\nContent-Type: image/png\r\n\r\n").subtype == b"html"
