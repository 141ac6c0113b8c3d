"""Messages of RFC 5322 and MIME by byte offsets: structure, envelope, sections, text. Pure, bounded, never raising."""

from mesyx_core.mime.dates import parse_date
from mesyx_core.mime.headers import header_fields
from mesyx_core.mime.model import (
    EMPTY,
    Address,
    Envelope,
    HeaderField,
    Limits,
    Message,
    Parameters,
    Part,
    Summary,
)
from mesyx_core.mime.packing import PackError, pack_envelope, pack_part, unpack_envelope, unpack_part
from mesyx_core.mime.section import find, section
from mesyx_core.mime.structure import envelope, index
from mesyx_core.mime.summaries import summary
from mesyx_core.mime.text import body_texts, header_text, texts
from mesyx_core.mime.transfer import decoded_body
from mesyx_core.mime.words import decode_address, decode_words, filename, parameter

__all__ = [
    "EMPTY", "Address", "Envelope", "HeaderField", "Limits", "Message", "PackError", "Parameters", "Part", "Summary",
    "body_texts", "decode_address", "decode_words", "decoded_body", "envelope", "filename", "find", "header_fields",
    "header_text", "index", "pack_envelope", "pack_part", "parameter", "parse_date", "section", "summary", "texts",
    "unpack_envelope", "unpack_part",
]  # fmt: skip
