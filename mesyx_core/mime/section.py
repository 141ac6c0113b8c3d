"""Where a section of a message lies (RFC 3501, section 6.4.5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from mesyx_core.mime.model import Part

What: TypeAlias = Literal["", "HEADER", "TEXT", "MIME"]


def find(root: Part, path: Sequence[int]) -> Part | None:
    """The part that an IMAP part number names: `find(root, (1, 2))` for 1.2; () is the message itself.

    In a message that is no multipart, number 1 is the message's own part.
    """
    part = root
    whole = True  # part is a message's own part, so that 1 may name its body
    for number in path:
        if part.message is not None and not whole:
            part, whole = part.message.part, True
        if part.type == b"multipart":
            if not 1 <= number <= len(part.parts):
                return None
            part = part.parts[number - 1]
        elif number != 1 or not whole:
            return None
        whole = False
    return part


def section(root: Part, path: Sequence[int], what: What = "") -> tuple[int, int] | None:
    """Start and end of BODY[path.what] in the whole message; None when there is no such section.

    BODY[1.2] is (1, 2); BODY[HEADER] is () with "HEADER", as are its FIELDS forms; BODY[1.HEADER] and BODY[1.TEXT] are
    those of a message/rfc822 and exist in no other part; BODY[1.MIME] is the part's own header.
    """
    part = find(root, path)
    if part is None:
        return None
    if what == "MIME":
        return (part.header_start, part.body_start) if path else None
    if what:
        if path:
            if part.message is None:
                return None
            part = part.message.part
        return (part.header_start, part.body_start) if what == "HEADER" else (part.body_start, part.end)
    return (part.body_start, part.end) if path else (part.header_start, part.end)
