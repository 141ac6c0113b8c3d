"""Whether a message matches a `Query`, decided the slow and obvious way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Protocol

from mesyx_core import mime
from mesyx_core.api import Query


class Searched(Protocol):
    """What a search looks into."""

    id: bytes
    data: bytes
    time: datetime
    summary: mime.Summary


def matches(query: Query, uid: int, flags: frozenset[str], mail: Searched, modseq: int) -> bool:
    """`query` as `api.view.Query` defines it."""
    match query.op:
        case "and":
            return all(matches(term, uid, flags, mail, modseq) for term in query.terms)
        case "or":
            return any(matches(term, uid, flags, mail, modseq) for term in query.terms)
        case "not":
            return not matches(query.terms[0], uid, flags, mail, modseq)
        case "flag" | "unflag":
            return (str(query.value).lower() in {flag.lower() for flag in flags}) == (query.op == "flag")
        case "uid":
            return any(low <= uid <= high for low, high in query.value)  # type: ignore[attr-defined] # Uids, by `op`
        case "modseq":
            return isinstance(query.value, int) and modseq >= query.value
        case _:
            return _PLAIN[query.op](query, mail)


def _compare(op: str, left: date | None, right: object) -> bool:
    if left is None or not isinstance(right, date):
        return False
    return {"before": left < right, "on": left == right, "since": left >= right}[op]


def _size(query: Query, mail: Searched) -> bool:
    size, bound = len(mail.data), query.value
    return isinstance(bound, int) and (size > bound if query.op == "larger" else size < bound)


def _header(query: Query, mail: Searched) -> bool:
    name = (query.name or query.op).lower().encode()
    fields = mime.header_fields(mail.data, *mail.summary.header_range)
    wanted = str(query.value).casefold()
    return any(wanted in mime.decode_words(field.value).casefold() for field in fields if field.name.lower() == name)


def _text(query: Query, mail: Searched) -> bool:
    read = mime.texts if query.op == "text" else mime.body_texts
    return str(query.value).casefold() in "\n".join(read(mail.data, mail.summary.part)).casefold()


def _sent(query: Query, mail: Searched) -> bool:
    return _compare(query.op.removeprefix("sent"), mail.summary.date and mail.summary.date.date(), query.value)


_PLAIN: Mapping[str, Callable[[Query, Searched], bool]] = {
    "all": lambda query, mail: True,
    "id": lambda query, mail: mail.id == query.value,
    "thread": lambda query, mail: False,
    **dict.fromkeys(("before", "on", "since"), lambda query, mail: _compare(query.op, mail.time.date(), query.value)),
    **dict.fromkeys(("sentbefore", "senton", "sentsince"), _sent),
    **dict.fromkeys(("larger", "smaller"), _size),
    **dict.fromkeys(("header", "from", "to", "cc", "bcc", "subject"), _header),
    **dict.fromkeys(("body", "text"), _text),
}
