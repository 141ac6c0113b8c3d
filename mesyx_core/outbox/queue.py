"""What the outbox knows of each submission, and how that changes. Pure: every function takes a job and returns another.

A job holds where its request stands, and the numbers and states of its recipients: never an address, never text. Times
are Unix seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeAlias

from mesyx_core.api.verdict import Outcome
from mesyx_core.record.outgoing import DROPPED, MAX_REASON, MAX_REMOTE, Fate, Word

STEPS: Final = (300, 900, 1800, 3600, 7200)
GIVE_UP: Final = 5 * 86_400
LATE: Final = 4 * 3600
"""After which a sender is told that a message is still on its way."""
NOTHING: Final[Mapping[int, Fate]] = MappingProxyType({})
FINAL: Final = frozenset(("sent", "never", "again"))
UNSURE: Final = "it may have been sent: the gateway stopped while it was sending"
BEFORE: Final = "it had come to its end before this request came"
TOO_LATE: Final = "4.4.7 not delivered in time"
NO_KEY: Final = "the key of its day is no longer kept"


class Schedule(NamedTuple):
    """When what was put off is tried again."""

    steps: tuple[int, ...] = STEPS
    """Seconds after the first attempt, the second …; the last one holds from then on."""
    give_up: int = GIVE_UP
    """Seconds after which a recipient has failed, if the request does not say sooner."""

    def after(self, attempts: int) -> int:
        """Seconds to wait after so many attempts."""
        return self.steps[min(max(attempts, 1), len(self.steps)) - 1]


class Place(NamedTuple):
    """An entry of a store's log."""

    node: bytes
    incarnation: bytes
    seq: int


class Recipient(NamedTuple):
    """One recipient, by its number."""

    word: Word = "later"
    attempts: int = 0
    next: int = 0
    """When it is due; of no meaning once the word is final."""
    trying: bool = False
    """Its intent is committed and nothing is known of the outcome."""
    heard: bool = False
    """Known from another run of this node."""


Key: TypeAlias = tuple[bytes, bytes]
"""(store, submission)."""


@dataclass(frozen=True, slots=True)
class Job:
    """One submission at this gateway."""

    store: bytes
    id: bytes
    recipients: Mapping[int, Recipient]
    since: int
    """When this gateway first heard of it."""
    deadline: int = 0
    request: Place | None = None
    """None while only another run's word of it is known."""
    day: bytes = b""
    network: str = "mail"
    mail: bool = True
    """At least once, under one Message-ID; what is not mail goes out at most once."""
    attempt: int = 0
    dropped: bool = False
    warned: bool = False
    """Whether its sender was told that it is late."""

    @property
    def key(self) -> Key:
        return self.store, self.id

    @property
    def trying(self) -> tuple[int, ...]:
        return tuple(n for n, one in self.recipients.items() if one.trying)

    @property
    def pending(self) -> tuple[int, ...]:
        """Without a final word, and not being tried."""
        return tuple(n for n, one in self.recipients.items() if one.word not in FINAL and not one.trying)

    @property
    def final(self) -> bool:
        """Every recipient has ended, in one way."""
        return all(one.word in FINAL for one in self.recipients.values())

    @property
    def due(self) -> int | None:
        """When there is something to do about it; None while it is being tried, or waits for its request."""
        if self.request is None or self.final or self.trying:
            return None
        return min(min(self.recipients[n].next for n in self.pending), self.deadline)


class Told(NamedTuple):
    """A step: the job as it is now, and what is to be said of it."""

    job: Job
    fates: tuple[Fate, ...] = ()
    """Without addresses: the queue knows none."""


Step: TypeAlias = Callable[[Job], Told]


def admit(
    known: Job | None,
    *,
    store: bytes,
    id: bytes,
    numbers: Iterable[int],
    request: Place,
    day: bytes,
    deadline: int,
    network: str,
    mail: bool,
    schedule: Schedule,
    now: int,
) -> Job:
    """A request came. What was sent stays sent, whoever asks again; what is named no more is somebody else's; all
    others are due."""
    old = known.recipients if known is not None else {}
    first = known is None or known.request is None
    recipients: dict[int, Recipient] = {n: one for n, one in old.items() if one.word == "sent" or one.trying}
    for n in numbers:
        one = old.get(n, Recipient())
        if one.word == "sent" or one.trying or (first and one.heard):
            recipients[n] = one if one.word in FINAL else one._replace(next=max(one.next, now))
        else:
            recipients[n] = Recipient(attempts=one.attempts, next=now)
    return Job(
        store=store,
        id=id,
        recipients=recipients,
        since=now,
        deadline=min(deadline, now + schedule.give_up),
        request=request,
        day=day,
        network=network,
        mail=mail,
        attempt=known.attempt if known is not None else 0,
    )


def known_fates(job: Job, numbers: Iterable[int]) -> tuple[Fate, ...]:
    """What to answer at once to a request: what had come to its end before it came."""
    ended = ((n, job.recipients[n]) for n in numbers if job.recipients[n].word in FINAL)
    return tuple(_fate(n, one, BEFORE, None) for n, one in ended)


def ready(job: Job, now: int) -> tuple[int, ...]:
    """Whom to try now; nobody while an attempt runs, or past the deadline."""
    if job.request is None or job.trying or now >= job.deadline:
        return ()
    return tuple(n for n in job.pending if job.recipients[n].next <= now)


def begin(job: Job, numbers: Iterable[int]) -> Job:
    """An attempt, to be committed as an intent."""
    tried = {
        n: job.recipients[n]._replace(trying=True, attempts=job.recipients[n].attempts + 1, heard=False)
        for n in numbers
    }
    return replace(job, attempt=job.attempt + 1, recipients={**job.recipients, **tried})


def settle(job: Job, outcomes: Mapping[int, Outcome], schedule: Schedule, now: int) -> Told:
    """What the network said. Whoever it said nothing about is tried again, as if put off."""
    fates = []
    recipients = dict(job.recipients)
    for n in job.trying:
        outcome = outcomes.get(n) or Outcome(word="later", reason="4.0.0 the network said nothing of it")
        one = recipients[n]._replace(trying=False)
        word: Word = outcome.word
        reason = outcome.reason
        later: int | None = None
        if word == "later" and job.dropped:
            word, reason = "never", DROPPED
        elif word == "later" and now >= job.deadline:
            word = "never"
        elif word == "later":
            wait = max(schedule.after(one.attempts), int(min(outcome.after or 0, GIVE_UP)))
            later = min(now + wait, job.deadline)
        recipients[n] = one._replace(word=word, next=later or 0)
        fates.append(_fate(n, recipients[n], reason, later, outcome.remote))
    return Told(replace(job, recipients=recipients), tuple(fates))


def expire(job: Job, now: int, said: Mapping[int, Fate] = NOTHING) -> Told:
    """Past the deadline, what is still waiting has failed: for the reason that was `said` last, if that is known."""
    if job.request is None or now < job.deadline:
        return Told(job)
    told = _end(job, job.pending, "never", TOO_LATE)
    last = ((fate, said.get(fate.number)) for fate in told.fates)
    fates = (fate if was is None else fate._replace(reason=was.reason, remote=was.remote) for fate, was in last)
    return Told(told.job, tuple(fates))


def late(told: Told, now: int) -> Told:
    """Note that a person is told that it is late, which they are once. Without fates when that is not called for."""
    waiting = tuple(fate for fate in told.fates if fate.word == "later")
    if told.job.warned or now < told.job.since + LATE or not waiting:
        return Told(told.job)
    return Told(replace(told.job, warned=True), waiting)


def drop(job: Job) -> Told:
    """A person took it back. What is being tried ends as the attempt ends."""
    return _end(replace(job, dropped=True), job.pending, "never", DROPPED)


def refuse(job: Job, reason: str) -> Told:
    """This gateway does not send it."""
    return _end(job, job.pending, "never", reason)


def hurry(job: Job, now: int) -> Job:
    """A person wants it tried now."""
    hurried = {n: job.recipients[n]._replace(next=now) for n in job.pending}
    return replace(job, recipients={**job.recipients, **hurried})


def interrupt(job: Job, now: int) -> Told:
    """An attempt ended without a word, as when the node was killed. Mail is tried again, unless it was taken back
    meanwhile: another gateway may have it. Of all else it is told that it may have been sent."""
    if not job.mail:
        return _end(job, job.trying, "never", UNSURE)
    if job.dropped:
        return _end(job, job.trying, "never", DROPPED)
    back = {n: job.recipients[n]._replace(trying=False, next=now) for n in job.trying}
    return Told(replace(job, recipients={**job.recipients, **back}))


def give_back(job: Job) -> Told:
    """The key of its day goes: the client has to seal it again."""
    return _end(job, job.pending, "again", NO_KEY)


def heard_intent(known: Job | None, store: bytes, id: bytes, attempt: int, numbers: Iterable[int], now: int) -> Job:
    """Another run of this node meant to send."""
    job = known or Job(store, id, {}, now)
    recipients = dict(job.recipients)
    for n in numbers:
        one = recipients.get(n, Recipient())
        if one.word not in FINAL:
            attempts = max(one.attempts, attempt)
            recipients[n] = one._replace(trying=True, attempts=attempts, heard=not one.trying)
    return replace(job, recipients=recipients, attempt=max(job.attempt, attempt))


def heard_receipt(known: Job | None, store: bytes, id: bytes, fates: Iterable[Fate], now: int) -> Job:
    """Another run of this node said what became of recipients. "sent" holds whatever this one thought."""
    job = known or Job(store, id, {}, now)
    recipients = dict(job.recipients)
    for fate in fates:
        one = recipients.get(fate.number, Recipient())
        if one.word == "sent" or (one.word in FINAL and fate.word != "sent"):
            continue
        recipients[fate.number] = Recipient(
            fate.word, max(one.attempts, fate.attempts), fate.next or one.next, heard=True
        )
    return replace(job, recipients=recipients)


def _end(job: Job, numbers: Iterable[int], word: Word, reason: str) -> Told:
    ended = {n: job.recipients[n]._replace(word=word, trying=False, next=0) for n in numbers}
    fates = tuple(_fate(n, one, reason, None) for n, one in ended.items())
    return Told(replace(job, recipients={**job.recipients, **ended}), fates)


def _fate(n: int, one: Recipient, reason: str, later: int | None, remote: str = "") -> Fate:
    return Fate(n, "", one.word, reason[:MAX_REASON], remote[:MAX_REMOTE], one.attempts, later)


# --- as a row

_VERSION: Final = 1


def dump(job: Job) -> list[Any]:
    """Plain values for a sealed row."""
    recipients = [[n, *one] for n, one in job.recipients.items()]
    request = None if job.request is None else list(job.request)
    rest = [job.since, job.deadline, request, job.day, job.network, job.mail, job.attempt, job.dropped, job.warned]
    return [_VERSION, job.store, job.id, recipients, *rest]


def load(value: list[Any]) -> Job:
    """What `dump` gave: rows are this node's own."""
    _, store, id, recipients, since, deadline, request, day, network, mail, attempt, dropped, warned = value
    return Job(
        store,
        id,
        {n: Recipient(*rest) for n, *rest in recipients},
        since,
        deadline,
        None if request is None else Place(*request),
        day,
        network,
        mail,
        attempt,
        dropped,
        warned,
    )
