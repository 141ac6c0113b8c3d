"""Bytes in a charset that a stranger names, as text: never an error, never a codec that is no charset."""

from __future__ import annotations

import re
from encodings.aliases import aliases
from typing import Final

# Python's own names as well as its aliases, but nothing that is no character set, and nothing that is looked up by
# import: an unknown name would cost a search on disk and a place in a cache that never shrinks.
_NO_CHARSETS: Final = frozenset(
    ("base64_codec", "bz2_codec", "hex_codec", "quopri_codec", "rot_13", "uu_codec", "zlib_codec", "mbcs", "utf_7")
)
# What the name says, and what is meant by those who send it.
_MEANT: Final = {
    "ascii": "utf_8",
    "latin_1": "cp1252",
    "iso8859_1": "cp1252",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "euc_kr": "cp949",
    "shift_jis": "cp932",
    "big5": "big5hkscs",
    "unknown_8bit": "utf_8",
    "x_unknown": "utf_8",
    "ks_c_5601_1987": "cp949",
    "iso_8859_8_i": "iso8859_8",
    "cp874": "cp874",
    "windows_874": "cp874",
    "koi8_u": "koi8_u",
    "utf_8_sig": "utf_8_sig",
    "utf_7": "utf_7",
    "unicode_1_1_utf_7": "utf_7",
}
_CODECS: Final = {
    name: _MEANT.get(codec, codec)
    for codec_name, codec in (*aliases.items(), *((codec, codec) for codec in aliases.values()))
    if codec not in _NO_CHARSETS
    for name in (codec_name,)
} | _MEANT
_NORMAL = re.compile(r"[^a-z0-9]+")


def decode(data: bytes, charset: str = "") -> str:
    """Text in a charset; an unknown or missing one is guessed: UTF-8, else Windows-1252, else Latin-1."""
    codec = _CODECS.get(_NORMAL.sub("_", charset[:64].lower()).strip("_"), "") if charset else ""
    if codec and codec not in ("utf_8", "cp1252"):
        return data.decode(codec, "replace")
    try:
        return data.decode(codec or "utf_8")
    except UnicodeDecodeError:
        if codec == "utf_8" and charset.lower().startswith("utf"):
            return data.decode("utf_8", "replace")
    try:
        return data.decode("cp1252")
    except UnicodeDecodeError:
        return data.decode("latin_1")
