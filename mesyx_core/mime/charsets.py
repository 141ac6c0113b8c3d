"""Bytes in a charset that a stranger names, as text: never an error, never a codec that is no charset."""

from __future__ import annotations

import codecs
import re
from encodings.aliases import aliases
from typing import Final

# Only these names are ever looked up: for any other one Python searches the disk, and keeps it in a cache for good.
_NO_CHARSETS: Final = frozenset(
    ("base64_codec", "bz2_codec", "hex_codec", "quopri_codec", "rot_13", "uu_codec", "zlib_codec", "mbcs")
)
# What is meant by those who send it.
_MEANT: Final = {
    "ascii": "",
    "latin_1": "cp1252",
    "iso8859_1": "cp1252",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "euc_kr": "cp949",
    "shift_jis": "cp932",
    "big5": "big5hkscs",
}
_MORE: Final = {
    "cp737": "cp737",
    "cp874": "cp874",
    "windows_874": "cp874",
    "koi8_u": "koi8_u",
    "iso_8859_8_i": "iso8859_8",
    "ks_c_5601_1987": "cp949",
    "unicode_1_1_utf_7": "utf_7",
    "utf_8_sig": "utf_8_sig",
}
_CODECS: Final = {
    name: _MEANT.get(codec, codec)
    for name, codec in ({codec: codec for codec in aliases.values()} | aliases | _MORE).items()
    if codec not in _NO_CHARSETS
}
_NORMAL = re.compile(r"[^a-z0-9]+")
_SURROGATES = re.compile("[\ud800-\udfff]")
# Windows-1252 with the control characters of Latin-1 in its five holes, as the web reads it: it decodes any bytes.
_WINDOWS: Final = "".join(
    [chr(i) if i in (0x81, 0x8D, 0x8F, 0x90, 0x9D) else bytes((i,)).decode("cp1252") for i in range(256)]
)


def decode(data: bytes, charset: str = "") -> str:
    """Text in a charset, without halves of surrogate pairs. An unknown or missing one, and ASCII that is none, is
    guessed: UTF-8, else Windows-1252.
    """
    codec = _CODECS.get(_NORMAL.sub("_", charset[:64].lower()).strip("_"), "") if charset else ""
    if codec and codec != "cp1252":
        # UTF-7 brings such halves along; no file and no socket takes them.
        return _SURROGATES.sub("\ufffd", data.decode(codec, "replace"))
    if not codec:
        try:
            return data.decode("utf_8")
        except UnicodeDecodeError:
            pass
    return codecs.charmap_decode(data, "strict", _WINDOWS)[0]
