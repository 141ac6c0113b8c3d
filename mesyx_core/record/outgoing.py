"""What clients and gateways tell one another about messages on their way out, and about accounts on other networks.

Each is an inner kind of `record.content`: `pack` gives the bytes to seal, and `decode_*` takes `Content.value` of an
opened entry. A *submission* is one message that a person sends, named by 16 random bytes; a *request* is the sealed
entry that asks one gateway to do something about it. Times are Unix seconds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, NamedTuple, TypeAlias, TypeVar, cast, get_args

from pydantic import JsonValue

from mesyx_core.api import Message
from mesyx_core.record import content, shape
from mesyx_core.record.content import BlobRef, Content
from mesyx_core.record.shape import RecordError
from mesyx_core.vault import encoding, labels

Verb: TypeAlias = Literal["send", "retry", "drop"]
Word: TypeAlias = Literal["sent", "later", "never", "again"]

ID: Final = 16
MAX_RECIPIENTS: Final = 1000
"""Of one submission."""
MAX_FATES: Final = 200
"""In one receipt: what tells of more recipients is several receipts."""
MAX_DAYS: Final = 32
MAX_NETWORKS: Final = 64
MAX_AGE_RECIPIENT: Final = 4096
MAX_ADDRESS: Final = 1024
MAX_REASON: Final = 512
MAX_REMOTE: Final = 256
MAX_NAME: Final = 256
MAX_VALUES: Final = 256
MAX_VALUE: Final = 64 * 1024
MAX_DEPTH: Final = 8
MAX_ATTEMPTS: Final = 1 << 20
DROPPED: Final = "it was taken out of the queue"
"""A gateway's reason for "never" where a person took the message back."""

_T = TypeVar("_T")


def day_id(recipient: str) -> bytes:
    """What an epoch's target calls the recipient of the day whose text this is."""
    return encoding.digest(labels.DAY, recipient)


class Day(NamedTuple):
    """One of a gateway's recipients of the day."""

    id: bytes
    recipient: str
    """As age writes it."""
    since: int
    """From then on requests may be sealed to it, whenever it was published."""
    until: int
    """The end of its UTC day; after that nothing is sealed to it any more."""


class Recipients(NamedTuple):
    """gateway → clients. Every day whose private half the gateway holds, and what it sends on. Whoever sealed to a day
    that a newer one of these no longer lists, and has no final receipt, seals again."""

    time: int
    """Of the newest one the highest: it never goes back, whatever the gateway's clock does."""
    days: tuple[Day, ...]
    networks: tuple[str, ...] = ("mail",)

    def pack(self) -> bytes:
        return content.pack_inner("recipients", [self.time, [list(day) for day in self.days], list(self.networks)])


class Submission(NamedTuple):
    """client → clients. What was asked of whom about a submission, so that every client knows of it. Its request, if it
    names a gateway, stands beside it in the same transaction."""

    id: bytes
    action: Verb
    gateway: bytes
    """Node key; empty while none can take it."""
    day: bytes
    """Which of the gateway's days the request is sealed to; empty while none is."""
    deadline: int
    time: int

    def pack(self) -> bytes:
        return content.pack_inner("submission", list(self))


class Request(NamedTuple):
    """client → one gateway's recipient of the day, alone."""

    verb: Verb
    id: bytes
    deadline: int = 0
    """Past it what was not sent has failed."""
    message: Message | None = None
    """For "send": its recipients are those still to be served; its envelope has return path and DSN parameters. Its
    body is empty when `body` is a BlobRef."""
    body: bytes | BlobRef = b""
    numbers: tuple[int, ...] = ()
    """For "send": of each recipient its place in the submission as it was first made, so that a recipient keeps its
    number whenever a request is sealed again with fewer. Empty stands for 0, 1, 2 …"""

    @property
    def numbered(self) -> dict[int, str]:
        """The recipients by their numbers."""
        recipients = self.message.recipients if self.message is not None else ()
        return dict(zip(self.numbers or range(len(recipients)), recipients, strict=True))

    def pack(self) -> bytes:
        value: dict[str, Any] = {"verb": self.verb, "id": self.id}
        if self.message is not None:
            value |= {"deadline": self.deadline, "message": content.pack(self.message, self.body)}
        if self.numbers:
            value["numbers"] = list(self.numbers)
        return content.pack_inner("request", value)


class Intent(NamedTuple):
    """gateway → clients and the request's day. Committed before every attempt: what may have been sent."""

    id: bytes
    attempt: int
    """1 for the first."""
    numbers: tuple[int, ...]
    time: int

    def pack(self) -> bytes:
        return content.pack_inner("intent", [self.id, self.attempt, list(self.numbers), self.time])


class Fate(NamedTuple):
    """What became of one recipient of a submission."""

    number: int
    address: str
    word: Word
    """"again": not tried, the key is going away; seal the request again."""
    reason: str = ""
    remote: str = ""
    """Who said so."""
    attempts: int = 0
    next: int | None = None
    """When it is tried again."""


class Receipt(NamedTuple):
    """gateway → clients and the request's day. What became of some recipients."""

    id: bytes
    time: int
    final: bool
    """Nothing more follows from this request: each of its recipients is sent, never or again."""
    fates: tuple[Fate, ...]

    def pack(self) -> bytes:
        return content.pack_inner("receipt", [self.id, self.time, self.final, [list(fate) for fate in self.fates]])


class Account(NamedTuple):
    """client → node. A person's own log-in on another network; without its secrets also client → clients."""

    name: str
    use: str
    node: bytes
    """Key of the node that holds it."""
    via: str = ""
    """Instance through which the node opens it; empty is the one of that use."""
    settings: Mapping[str, JsonValue] = {}
    secrets: Mapping[str, str] = {}
    time: int = 0
    """Of what is said of one account on one node, the latest counts."""

    def pack(self) -> bytes:
        value = [self.name, self.use, self.node, self.via, dict(self.settings), dict(self.secrets), self.time]
        return content.pack_inner("account", value)


class AccountRemoved(NamedTuple):
    """client → node, and client → clients."""

    name: str
    node: bytes
    time: int = 0

    def pack(self) -> bytes:
        return content.pack_inner("account", list(self))


Told: TypeAlias = Recipients | Submission | Request | Intent | Receipt | Account | AccountRemoved


def decode(opened: Content) -> Told | None:
    """Whichever of these an opened entry holds; None when it is of another kind. Raises RecordError."""
    reader = _READERS.get(opened.kind)
    return None if reader is None else reader(opened.value)


def decode_recipients(value: Any) -> Recipients:
    """Raises RecordError."""
    what = "recipients of the day"
    time, days, networks = shape.array(value, what, 3)
    found = tuple(_day(day) for day in shape.array(days, what, most=MAX_DAYS))
    names = tuple(shape.text(name, what, MAX_NAME) for name in shape.array(networks, what, most=MAX_NETWORKS))
    return Recipients(_time(time, what), found, names)


def _day(value: Any) -> Day:
    what = "a recipient of the day"
    id, recipient, since, until = shape.array(value, what, 4)
    text = shape.text(recipient, what, MAX_AGE_RECIPIENT)
    if not text.isascii() or id != day_id(text):
        raise RecordError(f"{what} has not the id that it should have")
    return Day(id, text, _time(since, what), _time(until, what))


def decode_submission(value: Any) -> Submission:
    """Raises RecordError."""
    what = "a submission"
    id, action, gateway, day, deadline, time = shape.array(value, what, 6)
    return Submission(
        shape.octets(id, what, ID),
        _verb(action, what),
        _key_or_none(gateway, what),
        _key_or_none(day, what),
        _time(deadline, what),
        _time(time, what),
    )


def decode_request(value: Any) -> Request:
    """Raises RecordError."""
    what = "a request"
    if type(value) is not dict or not {"verb", "id"} <= value.keys():
        raise RecordError(f"{what} has the wrong form")
    verb, id = _verb(value["verb"], what), shape.octets(value["id"], what, ID)
    if verb != "send":
        return Request(verb, id)
    opened = content.unpack(shape.octets(value.get("message"), what, most=content.MAX_CONTENT))
    message = opened.message
    if message is None or not message.recipients or len(message.recipients) > MAX_RECIPIENTS:
        raise RecordError(f"{what} has the wrong form")
    numbers = _numbers(value.get("numbers", []), what)
    if (numbers and len(numbers) != len(message.recipients)) or len(set(message.recipients)) != len(message.recipients):
        raise RecordError(f"{what} has the wrong form")
    return Request(verb, id, _time(value.get("deadline"), what), message, opened.body, numbers)


def decode_intent(value: Any) -> Intent:
    """Raises RecordError."""
    what = "an intent"
    id, attempt, numbers, time = shape.array(value, what, 4)
    return Intent(
        shape.octets(id, what, ID),
        shape.number(attempt, what, MAX_ATTEMPTS),
        _numbers(numbers, what),
        _time(time, what),
    )


def decode_receipt(value: Any) -> Receipt:
    """Raises RecordError."""
    what = "a receipt"
    id, time, final, fates = shape.array(value, what, 4)
    if type(final) is not bool:
        raise RecordError(f"{what} has the wrong form")
    found = tuple(_fate(fate) for fate in shape.array(fates, what, most=MAX_FATES))
    return Receipt(shape.octets(id, what, ID), _time(time, what), final, found)


def _fate(value: Any) -> Fate:
    what = "a receipt"
    number, address, word, reason, remote, attempts, later = shape.array(value, what, 7)
    if type(word) is not str or word not in get_args(Word):
        raise RecordError(f"{what} has the wrong form")
    return Fate(
        shape.number(number, what, MAX_RECIPIENTS - 1),
        shape.text(address, what, MAX_ADDRESS),
        cast(Word, word),
        shape.text(reason, what, MAX_REASON),
        shape.text(remote, what, MAX_REMOTE),
        shape.number(attempts, what, MAX_ATTEMPTS),
        None if later is None else _time(later, what),
    )


def decode_account(value: Any) -> Account | AccountRemoved:
    """Raises RecordError."""
    what = "an account"
    items = shape.array(value, what, most=7)
    if len(items) == 3:
        return AccountRemoved(_name(items[0], what), shape.octets(items[1], what, shape.KEY), _time(items[2], what))
    name, use, node, via, settings, secrets, time = shape.array(value, what, 7)
    return Account(
        _name(name, what),
        _name(use, what),
        shape.octets(node, what, shape.KEY),
        shape.text(via, what, MAX_NAME),
        _table(settings, what, _json),
        _table(secrets, what, _secret),
        _time(time, what),
    )


def _table(value: Any, what: str, check: Callable[[Any], _T]) -> dict[str, _T]:
    if type(value) is not dict or len(value) > MAX_VALUES:
        raise RecordError(f"{what} has the wrong form")
    return {shape.text(key, what, MAX_NAME): check(one) for key, one in value.items()}


def _secret(value: Any) -> str:
    return shape.text(value, "an account", MAX_VALUE)


def _json(value: Any, depth: int = MAX_DEPTH) -> JsonValue:
    what = "an account"
    if depth and type(value) is list:
        return [_json(one, depth - 1) for one in value]
    if depth and type(value) is dict:
        return {shape.text(key, what, MAX_NAME): _json(one, depth - 1) for key, one in value.items()}
    if type(value) is str:
        return shape.text(value, what, MAX_VALUE)
    if value is None or type(value) in (bool, int, float):
        return cast(JsonValue, value)
    raise RecordError(f"{what} has the wrong form")


def _name(value: Any, what: str) -> str:
    name = shape.text(value, what, MAX_NAME)
    if not name:
        raise RecordError(f"{what} has the wrong form")
    return name


def _verb(value: Any, what: str) -> Verb:
    if type(value) is not str or value not in get_args(Verb):
        raise RecordError(f"{what} has the wrong form")
    return cast(Verb, value)


def _numbers(value: Any, what: str) -> tuple[int, ...]:
    """Each once."""
    found = [shape.number(n, what, MAX_RECIPIENTS - 1) for n in shape.array(value, what, most=MAX_RECIPIENTS)]
    if len(set(found)) != len(found):
        raise RecordError(f"{what} has the wrong form")
    return tuple(found)


def _key_or_none(value: Any, what: str) -> bytes:
    return b"" if value == b"" else shape.octets(value, what, 32)


def _time(value: Any, what: str) -> int:
    return shape.number(value, what, shape.TIME_MAX)


_READERS: Final[Mapping[str, Callable[[Any], Told]]] = {
    "recipients": decode_recipients,
    "submission": decode_submission,
    "request": decode_request,
    "intent": decode_intent,
    "receipt": decode_receipt,
    "account": decode_account,
}
