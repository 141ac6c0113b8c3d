"""Decoded text for search: nothing raises, tags are off, everything in it is found."""

from __future__ import annotations

import pytest

from mesyx_core import mime


def body(data: bytes) -> list[str]:
    return list(mime.body_texts(data, mime.index(data)))


def html(markup: bytes) -> str:
    return "".join(body(b"Content-Type: text/html\r\n\r\n" + markup))


def coded(encoding: bytes, text: bytes) -> bytes:
    data = b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: " + encoding + b"\r\n\r\n" + text
    return mime.decoded_body(data, mime.index(data))


def test_header_and_text_parts_are_given_in_order() -> None:
    data = (
        b"Subject: =?utf-8?q?=C3=A9?=\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n"
        b"--x\r\nContent-Type: text/plain; charset=iso-8859-1\r\n\r\ncaf\xe9\r\n"
        b"--x\r\nContent-Type: image/png\r\n\r\nnot text\r\n"
        b"--x\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\nwithin\r\n"
        b"--x\r\nContent-Type: message/delivery-status\r\n\r\nStatus: 5.1.1\r\n"
        b"--x\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>caf\xc3\xa9</p>\r\n--x--\r\n"
    )
    header, *rest = mime.texts(data, mime.index(data))
    assert header == "Subject: é\nContent-Type: multipart/mixed; boundary=x"
    assert rest == ["café", "Subject: inner", "within", "Status: 5.1.1", "café"]
    assert body(data) == rest


def test_fields_are_found_with_their_places() -> None:
    data = b"A: b\r\n c\r\nnonsense\r\nD :e\r\n\r\nbody"
    fields = mime.header_fields(data, 0, mime.index(data).body_start)
    assert [(field.name, field.value) for field in fields] == [(b"A", b" b\r\n c"), (b"D", b"e")]
    assert [data[field.start : field.end] for field in fields] == [b"A: b\r\n c\r\n", b"D :e\r\n"]


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        (b"<p>one</p><p>two</p>", "one two"),
        (b"o<b>n</b>e <A HREF='x'>t</A>wo<wbr>three", "one twothree"),
        (b"a<br>b<br/>c", "a b c"),
        (b"a<script>if (1 < 2) x()</script>b<STYLE>p {}</STYLE>c", "a b c"),
        (b"a<!-- <b>hidden</b> -- - -->b", "a b"),
        (b"a<!-- never closed", "a"),
        (b"a<script>never closed", "a"),
        (b"a <p", "a"),
        (b"1 < 2 & 3 > 2", "1 < 2 & 3 > 2"),
        (b"&lt;b&gt; &eacute;&#233;&#xe9; &amp;amp; &nbsp;x", "<b> ééé &amp; x"),
        (b"&bogus; &#0; &#55296; &#x110000; &#150;", "&bogus; \ufffd \ufffd \ufffd –"),
        (b"<meta charset=utf-8>\xc3\xa9", "é"),
        (b'<meta http-equiv=Content-Type content="text/html; charset=koi8-r">\xc1', "а"),
        (b"<base href=x><big>y</big>", "y"),
    ],
)
def test_html_is_given_without_its_tags(markup: bytes, text: str) -> None:
    assert html(markup) == text


@pytest.mark.parametrize(
    ("encoded", "plain"),
    [
        (b"aGVsbG8=", b"hello"),
        (b"aGVs\r\nbG8=\r\n", b"hello"),
        (b"aGVsbG8", b"hello"),
        (b"aGVsbG8=aGVsbG8=", b"hellohello"),
        (b"aGV*s\0bG8=", b"hello"),
        (b"a", b""),
        (b"", b""),
        (b"====", b""),
    ],
)
def test_base64_is_decoded_as_far_as_it_goes(encoded: bytes, plain: bytes) -> None:
    assert coded(b"base64", encoded) == plain


@pytest.mark.parametrize(
    ("encoded", "plain"),
    [(b"caf=C3=A9", b"caf\xc3\xa9"), (b"a=\r\nb", b"ab"), (b"a =\r\n b", b"a  b"), (b"=XY=", b"=XY"), (b"a_b", b"a_b")],
)
def test_quoted_printable_is_decoded_as_far_as_it_goes(encoded: bytes, plain: bytes) -> None:
    assert coded(b"Quoted-Printable", encoded) == plain


def test_an_unknown_encoding_is_left_alone() -> None:
    assert coded(b"x-odd", b"a=20b") == b"a=20b"


def test_a_decoded_body_is_cut_at_its_limit() -> None:
    data = b"Content-Transfer-Encoding: base64\r\n\r\n" + b"YWFh" * 1000
    assert mime.decoded_body(data, mime.index(data), 100) == b"a" * 100


@pytest.mark.parametrize(
    ("charset", "raw", "text"),
    [
        (b"utf-8", b"caf\xc3\xa9", "café"),
        (b"UTF8", b"\xff", "\ufffd"),
        (b"us-ascii", b"caf\xc3\xa9", "café"),
        (b"us-ascii", b"caf\xe9", "café"),
        (b"iso-8859-1", b"\x93x\x94", "“x”"),
        (b"iso-8859-15", b"\xa4", "€"),
        (b"windows-1251", b"\xe0", "а"),
        (b"ks_c_5601-1987", b"\xb0\xa1", "가"),
        (b"big5", b"\xa4\x40", "一"),
        (b"shift_jis", b"\x82\xa0", "あ"),
        (b"utf-16", b"\xff\xfea\x00", "a"),
        (b"utf-7", b"+AOk-", "é"),
        (b"utf-7", b"+2AA-x+3AA-", "\ufffdx\ufffd"),
        (b"unicode_escape", b"\\x41", "\\x41"),
        (b"rot13", b"abc", "abc"),
        (b"hex", b"6162", "6162"),
        (b"idna", b"xn--a", "xn--a"),
        (b"../../etc/passwd", b"x", "x"),
        (b"unknown-8bit", b"\xe9", "é"),
    ],
)
def test_a_charset_is_honoured_or_guessed(charset: bytes, raw: bytes, text: str) -> None:
    assert body(b'Content-Type: text/plain; charset="' + charset + b'"\r\n\r\n' + raw) == [text]
