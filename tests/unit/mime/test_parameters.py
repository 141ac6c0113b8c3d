"""Content-Type and Content-Disposition (RFC 2045, 2183), and their parameters as text (RFC 2231)."""

from __future__ import annotations

import pytest

from mesyx_core import mime


def of(value: bytes) -> mime.Part:
    return mime.index(b"Content-Type: " + value + b"\r\n\r\n")


@pytest.mark.parametrize(
    ("value", "params"),
    [
        (b"text/plain; charset=utf-8", {b"charset": b"utf-8"}),
        (b'text/plain; Charset = "utf-8" ; X-Y="a\\"b;c"', {b"charset": b"utf-8", b"x-y": b'a"b;c'}),
        (b"text/plain (plain) ; (a) charset=utf-8 (comment); b=c", {b"charset": b"utf-8", b"b": b"c"}),
        (b"text/plain;;; x; y=; =z; a=b", {b"a": b"b"}),
        (b"text/plain charset=utf-8", {b"charset": b"utf-8"}),
        (b"text/plain; name=foo bar.txt; a=b/c?d", {b"name": b"foo bar.txt", b"a": b"b/c?d"}),
        (b"multipart/mixed;\r\n\tboundary=----=_Part", {b"boundary": b"----=_Part"}),
        (b'text/plain; charset="foo; name=bar', {b"charset": b"foo; name=bar"}),
    ],
)
def test_parameters_are_read_as_they_are_sent(value: bytes, params: dict[bytes, bytes]) -> None:
    assert dict(of(value).params) == params


@pytest.mark.parametrize("value", [b"text", b"foo bar/baz", b"", b"/", b"text/", b'"text/html"', b"; a=b", b"text(x"])
def test_a_type_that_is_none_is_plain_text(value: bytes) -> None:
    assert of(value)[:2] == (b"text", b"plain")


@pytest.mark.parametrize(
    ("value", "disposition"),
    [
        (b"Attachment", b"attachment"),
        (b'"inline"', b"inline"),
        (b"", None),
        (b";", None),
        (b"filename=x", b"attachment"),
    ],
)
def test_a_disposition_is_a_token(value: bytes, disposition: bytes | None) -> None:
    assert mime.index(b"Content-Disposition: " + value + b"\r\n\r\n").disposition == disposition


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"; name=plain.txt", "plain.txt"),
        (b"; name*=utf-8'en'%e2%82%ac%20rates", "€ rates"),
        (b"; name*0=a; name*1=b; name*2=c", "abc"),
        (b"; name*1=b; name*0=a; name*3=d", "ab"),
        (b"; name*0*=iso-8859-1''%a3; name*1=\"' 5%20\"; name*2*=%a3", "£' 5%20£"),
        (b"; name=old; name*=utf-8''new", "new"),
        (b'; name="=?utf-8?q?caf=C3=A9?="', "café"),
        (b'; name="caf\xe9"', "café"),
        (b"; name*=nonsense''%ff", "ÿ"),
        (b"; name*x=a; name*9999=b", None),
        (b"; other=x", None),
    ],
)
def test_a_parameter_is_decoded_on_request(value: bytes, text: str | None) -> None:
    assert mime.parameter(of(b"text/plain" + value).params, b"name") == text


def test_a_file_name_comes_from_the_disposition_or_else_the_type() -> None:
    both = b"Content-Type: a/b; name=type\r\nContent-Disposition: inline; filename*=utf-8''disposition%2f..\r\n\r\n"
    assert mime.filename(mime.index(both)) == "disposition/.."
    assert mime.filename(of(b"a/b; name=type")) == "type"
    assert mime.filename(mime.EMPTY) is None
