"""Messages of RFC 5322 and MIME by byte offsets: structure, envelope, sections and text. Pure, bounded, never raising."""

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
from mesyx_core.mime.structure import envelope, index, summary
from mesyx_core.mime.text import (
    body_texts,
    decode_address,
    decode_words,
    decoded_body,
    filename,
    header_fields,
    header_text,
    parameter,
    parse_date,
    texts,
)

__all__ = [
    "EMPTY", "Address", "Envelope", "HeaderField", "Limits", "Message", "PackError", "Parameters", "Part", "Summary", "body_texts",
    "decode_address", "decode_words", "decoded_body", "envelope", "filename", "find", "header_fields", "header_text", "index",
    "pack_envelope", "pack_part", "parameter", "parse_date", "section", "summary", "texts", "unpack_envelope", "unpack_part",
]  # fmt: skip
