"""Header values as people read them (RFC 2047)."""

from __future__ import annotations

import encodings

import pytest

from mesyx_core import mime


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"plain", "plain"),
        (b" folded\r\n\tvalue ", "folded value"),
        (b"=?utf-8?q?caf=C3=A9_au_lait?=", "café au lait"),
        (b"=?UTF-8?B?Y2Fmw6k=?= =?utf-8?Q?_x?=", "café x"),
        (b"=?iso-8859-1?q?a?=\r\n =?iso-8859-1?q?b?=", "ab"),
        (b"a =?utf-8?q?b?= c =?utf-8?q?d?= =?utf-8?q?e?=", "a b c de"),
        (b"=?utf-8?b?4oI=?= =?utf-8?b?rA==?=", "€"),
        (b"=?utf-8*en?q?a?=", "a"),
        (b"=?utf-8?q?with space?=", "with space"),
        (b"=?utf-8?b?Y2Fmw6k?=", "café"),
        (b"=?utf-8?b?!!!?=", ""),
        (b"=?utf-8?x?a?=", "=?utf-8?x?a?="),
        (b"=?utf-8?q?a", "=?utf-8?q?a"),
        (b"=?no-such-charset?q?caf=E9?=", "café"),
        (b"=?gb2312?b?xOO6ww==?=", "你好"),
        (b"=?iso-2022-jp?b?GyRCJCIbKEI=?=", "あ"),
        (b"=?utf-8?q?=ff=fe?=", "\ufffd\ufffd"),
        (b"caf\xc3\xa9", "café"),
        (b"caf\xe9 \x80", "café €"),
        (b"\x81\xff", "\x81ÿ"),
        (b"=?base64?q?a?=", "a"),
        (b"=?zlib?q?x?=", "x"),
        (b"=?utf-8?q?a=0D=0Ab?=", "a  b"),
    ],
)
def test_encoded_words_are_decoded(raw: bytes, text: str) -> None:
    assert mime.decode_words(raw) == text


def test_an_unknown_charset_costs_no_look_up() -> None:
    known = len(encodings._cache)  # it would grow for good with each name
    for i in range(100):
        mime.decode_words(b"=?x-charset-%d?q?a?=" % i)
    assert len(encodings._cache) == known
