"""Hostile messages: every one has a structure that holds together, and text that is text."""

from __future__ import annotations

import contextlib
import itertools

from mesyx_core import mime

PLAIN = b"""Return-Path: <a@example.org>
Received: from a (b [192.0.2.1]) by c; Thu, 22 Aug 2002 12:36:23 +0100 (IST)
From: "Ann \\"A\\" B" <ann@example.org>, =?utf-8?q?J=C3=B6rg?= <j@example.org> (c (d))
Sender: <@a,@b:s@example.org>
To: friends: a@b, "c d" <e@f>;, undisclosed:;, root
Cc: x . y @ z . org
Subject: =?iso-8859-1?q?=A1Hola?=
\t=?utf-8?b?8J+YgA==?= folded \xe9
Date: Thu, 22 Aug 02 12:36:23 EDT
Message-ID: <1@example.org>
In-Reply-To: <0@example.org> (his)
References: <a@b>
 <0@example.org>
MIME-Version: 1.0
Content-Type: text/plain; charset="utf-8"; name*0*=utf-8'en'a%20; name*1=b
Content-Transfer-Encoding: quoted-printable
Content-Disposition: attachment; filename="=?utf-8?q?a?=.txt"
Content-Language: en, de
Content-ID: <x@y>
Content-MD5: Q2hlY2s=

caf=C3=A9 =
and more
"""
NESTED = b"""Subject: nested
Content-Type: multipart/mixed; boundary=foo

preamble
--foo
Content-Type: multipart/alternative; boundary="foobar"

--foobar
Content-Type: text/html; charset=windows-1252

<html><head><style>p {}</style><meta charset=utf-8></head><!-- c --><p>a<b>b</b>&eacute;&#x20ac;&lt;</p>
--foobar
Content-Type: text/plain; charset=iso-2022-jp
Content-Transfer-Encoding: base64

GyRCJCIbKEI=
--foobar--

--foo
Content-Type: message/rfc822

From: b@example.org
Subject: inner
Content-Type: multipart/digest; boundary="b"

--b

From: c@example.org

text
--b--
--foo
Content-Type: message/rfc822
Content-Transfer-Encoding: base64

U3ViamVjdDogeA0KDQo=
--foo--
epilogue
"""
SEEDS: list[bytes] = [
    b"",
    b"\r\n",
    b"no header at all",
    PLAIN,
    NESTED,
    PLAIN.replace(b"\n", b"\r\n"),
    NESTED.replace(b"\n", b"\r\n"),
    b"Content-Type: text/html\r\n\r\n<a href='x>y'>z</a><script>1 < 2</script>&amp;&bogus;&#0;&#xD800;",
    b"From: " + b"(" * 500 + b")" * 500 + b" a@b\r\n\r\n",
    b"Content-Type: message/rfc822\r\n\r\n" * 60,
    b"".join(b"Content-Type: multipart/mixed; boundary=%d\r\n\r\n--%d\r\n" % (i, i) for i in range(60)),
]
TOKENS: list[bytes] = [
    b"\r\n--foo\r\n", b"\r\n--foo--", b"\n--foobar\n", b"\r\n\r\n", b"\n\n", b"Content-Type: ", b"message/rfc822",
    b"multipart/digest; boundary=foo", b"; boundary=\"", b"Content-Transfer-Encoding: base64\r\n", b"charset=utf-7",
    b"charset=hz", b"=?utf-8?b?", b"?=", b"\r\n ", b"<", b">", b"@", b",", b";", b":", b"(", b")", b"\\", b"[", b"]",
    b"<script", b"<!--", b"&#", b"&", b"=", b"%", b"*0*=", b"''", b"<style>", b" ", b"\t",
]  # fmt: skip


def target(data: bytes) -> None:
    """All that is ever done with a message, and what must hold for its structure."""
    found = mime.summary(data)
    root = found.part
    assert (root.header_start, root.end) == (0, len(data))
    assert found.header_range == (0, root.body_start)
    assert found == mime.Summary(mime.envelope(data), mime.index(data), *found[2:])
    check(data, root, (), 0)
    assert mime.unpack_part(mime.pack_part(root)) == root
    assert mime.unpack_envelope(mime.pack_envelope(found.envelope)) == found.envelope
    for unpack in (mime.unpack_part, mime.unpack_envelope):
        with contextlib.suppress(mime.PackError):
            unpack(b"\x01" + data)
    for text in mime.texts(data, root, 1 << 16):
        assert text.encode()
    fields = mime.header_fields(data, 0, root.body_start)
    assert all(left.end <= right.start for left, right in itertools.pairwise(fields))
    for field in fields[:50]:
        assert "\n" not in mime.decode_words(field.value)
        mime.parse_date(field.value)
    for address in (*found.envelope.from_, *found.envelope.to, *found.envelope.cc):
        assert address.mailbox is None or address.mailbox.translate(None, b"\r\n\0") == address.mailbox
        mime.decode_address(address)


def check(data: bytes, part: mime.Part, path: tuple[int, ...], depth: int) -> None:
    """Parts lie within their parents, in order, and are found by their numbers."""
    assert depth <= 50
    assert part.header_start <= part.body_start <= part.end <= len(data)
    assert part.lines == data.count(b"\n", part.body_start, part.end)
    assert part.type
    assert part.type.translate(None, b"\r\n\0") == part.type == part.type.lower()
    assert (part.type, part.subtype) == (b"message", b"rfc822") or part.message is None
    assert part.type == b"multipart" or not part.parts
    mime.filename(part)
    mime.decoded_body(data, part, 1 << 16)
    assert mime.find(mime.EMPTY, (*path, 2)) is None
    if part.message is not None:
        inner = part.message.part
        assert (inner.header_start, inner.end) == (part.body_start, part.end)
        check(data, inner, (), depth + 1)
    at = part.body_start
    for number, child in enumerate(part.parts, 1):
        assert at <= child.header_start
        assert child.end <= part.end
        assert mime.section(part, (number,)) == (child.body_start, child.end)
        assert mime.section(part, (number,), "MIME") == (child.header_start, child.body_start)
        check(data, child, (*path, number), depth + 1)
        at = child.end
