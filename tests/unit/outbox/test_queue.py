"""What becomes of a submission at a gateway, step by step: every recipient ends, once, in one way."""

from __future__ import annotations

from typing import Any, Literal

from hypothesis import given, settings
from hypothesis import strategies as st

from mesyx_core.api import Outcome
from mesyx_core.outbox import queue
from mesyx_core.outbox.queue import FINAL, GIVE_UP, Job, Place, Schedule
from mesyx_core.record.outgoing import Fate, Word
from mesyx_core.vault import encoding

STORE, ID, DAY = b"s" * 32, b"i" * 16, b"d" * 32
NOW = 1_795_305_600
SCHEDULE = Schedule()
SENT, NEVER, LATER = Outcome(word="sent"), Outcome(word="never", reason="550 5.1.1"), Outcome(word="later")
MINUTE, HOUR, DAYS = 60, 3600, 86_400


def asked(known: Job | None = None, *, numbers: range | list[int] = range(3), seq: int = 5, **fields: Any) -> Job:
    request = {"deadline": NOW + GIVE_UP, "network": "mail", "mail": True, "schedule": SCHEDULE, "now": NOW, **fields}
    place = Place(b"n" * 32, b"r" * 16, seq)
    return queue.admit(known, store=STORE, id=ID, numbers=numbers, request=place, day=DAY, **request)


def words(job: Job) -> dict[int, str]:
    return {n: one.word for n, one in job.recipients.items()}


def attempt(job: Job, now: int, *outcomes: Outcome) -> queue.Told:
    ready = queue.ready(job, now)
    return queue.settle(queue.begin(job, ready), dict(zip(ready, outcomes, strict=True)), SCHEDULE, now)


def test_a_new_request_is_due_at_once() -> None:
    assert asked().due == NOW
    assert queue.ready(asked(), NOW) == (0, 1, 2)


def test_each_recipient_has_its_own_fate() -> None:
    job, fates = attempt(asked(), NOW, SENT, LATER, NEVER)
    assert words(job) == {0: "sent", 1: "later", 2: "never"}
    assert [fate.next for fate in fates] == [None, NOW + 5 * MINUTE, None]
    assert not job.final


def test_mail_is_tried_at_once_after_5_15_and_30_minutes_an_hour_and_then_every_two_hours() -> None:
    job, now, waits = asked(numbers=[0]), NOW, []
    while not job.final:
        if not queue.ready(job, now):
            job, _ = queue.expire(job, now)
            continue
        job, _ = attempt(job, now, LATER)
        if job.due is not None:
            waits.append(job.due - now)
            now = job.due
    assert [wait // MINUTE for wait in waits[:8]] == [5, 15, 30, 60, 120, 120, 120, 120]
    assert sum(waits) == GIVE_UP
    assert words(job) == {0: "never"}


def test_the_network_may_ask_for_more_patience_never_for_less() -> None:
    for after, wait in ((30.0, 5 * MINUTE), (3 * HOUR, 3 * HOUR), (1e9, GIVE_UP)):
        job, _ = attempt(asked(numbers=[0]), NOW, Outcome(word="later", after=after))
        assert job.due == NOW + wait


def test_only_those_who_are_due_are_tried() -> None:
    job, _ = attempt(asked(), NOW, LATER, Outcome(word="later", after=2 * HOUR), SENT)
    assert queue.ready(job, NOW + 5 * MINUTE) == (0,)


def test_nobody_is_tried_twice_at_a_time() -> None:
    job = queue.begin(asked(), [0])
    assert queue.ready(job, NOW) == ()
    assert job.due is None


def test_past_the_deadline_what_waits_has_failed_and_what_was_sent_was_sent() -> None:
    job, _ = attempt(asked(deadline=NOW + HOUR), NOW, SENT, LATER, LATER)
    assert queue.expire(job, NOW + HOUR - 1).job == job
    assert queue.ready(job, NOW + HOUR) == ()
    told = queue.expire(job, NOW + HOUR)
    assert words(told.job) == {0: "sent", 1: "never", 2: "never"}
    assert [fate.number for fate in told.fates] == [1, 2]


def test_what_has_failed_has_failed_for_the_reason_that_was_said_last() -> None:
    job, fates = attempt(
        asked(numbers=[0, 1], deadline=NOW + HOUR), NOW, Outcome(word="later", reason="4.4.1 down"), LATER
    )
    told = queue.expire(job, NOW + HOUR, {0: fates[0]})
    assert [fate.reason for fate in told.fates] == ["4.4.1 down", queue.TOO_LATE]


def test_a_sender_is_told_once_that_a_message_is_late() -> None:
    told = attempt(asked(), NOW, SENT, LATER, NEVER)
    assert queue.late(told, NOW + 4 * HOUR - 1) == (told.job, ())
    job, fates = queue.late(told, NOW + 4 * HOUR)
    assert [fate.number for fate in fates] == [1]
    assert queue.late(queue.Told(job, told.fates), NOW + 9 * HOUR).fates == ()


def test_an_interrupted_mail_is_tried_again_at_once() -> None:
    told = queue.interrupt(queue.begin(asked(), [0, 1]), NOW + 9)
    assert told.fates == ()
    assert queue.ready(told.job, NOW + 9) == (0, 1, 2)


def test_an_interrupted_mail_that_was_taken_back_meanwhile_is_not_tried_again() -> None:
    told = queue.interrupt(queue.drop(queue.begin(asked(), [0, 1])).job, NOW + 9)
    assert {fate.word for fate in told.fates} == {"never"}
    assert told.job.final
    assert queue.ready(told.job, NOW + 10) == ()


def test_an_interrupted_line_is_not_said_again_and_it_is_told_that_it_may_have_been() -> None:
    told = queue.interrupt(queue.begin(asked(mail=False), [0, 1]), NOW)
    assert words(told.job) == {0: "never", 1: "never", 2: "later"}
    assert [fate.reason for fate in told.fates] == [queue.UNSURE, queue.UNSURE]


def test_what_was_sent_is_not_sent_again_when_the_same_is_asked_again() -> None:
    job, _ = attempt(asked(), NOW, SENT, LATER, NEVER)
    again = asked(job, seq=9, now=NOW + HOUR)
    assert queue.ready(again, NOW + HOUR) == (1, 2)
    assert [(fate.number, fate.word) for fate in queue.known_fates(again, range(3))] == [(0, "sent")]


def test_who_is_not_named_any_more_is_not_tried_any_more() -> None:
    job, _ = attempt(asked(), NOW, SENT, LATER, LATER)
    assert words(asked(job, numbers=[2], seq=9)) == {0: "sent", 2: "later"}


def test_taking_it_back_spares_only_what_is_being_sent_just_now() -> None:
    told = queue.drop(queue.begin(asked(), [0, 1]))
    assert words(told.job) == {0: "later", 1: "later", 2: "never"}
    job, _ = queue.settle(told.job, {0: SENT, 1: LATER}, SCHEDULE, NOW)
    assert words(job) == {0: "sent", 1: "never", 2: "never"}


def test_what_another_run_has_sent_is_not_sent_whichever_is_heard_first() -> None:
    fates = [Fate(0, "", "sent"), Fate(1, "", "never"), Fate(2, "", "later", attempts=3, next=NOW + HOUR)]
    heard = queue.heard_receipt(None, STORE, ID, fates, NOW)
    for job in (asked(heard), queue.heard_receipt(asked(), STORE, ID, fates, NOW)):
        assert words(job) == {0: "sent", 1: "never", 2: "later"}
        assert queue.ready(job, NOW) == ()
        assert queue.ready(job, NOW + HOUR) == (2,)


def test_what_another_run_may_have_sent_mail_repeats_and_chat_does_not() -> None:
    heard = queue.heard_intent(None, STORE, ID, 1, [0], NOW)
    mail, line = (queue.interrupt(asked(heard, numbers=[0], mail=mail), NOW).job for mail in (True, False))
    assert (words(mail), words(line)) == ({0: "later"}, {0: "never"})
    assert mail.recipients[0].attempts == 1


def test_after_a_day_whose_key_is_gone_the_client_seals_again() -> None:
    job, _ = attempt(asked(), NOW, SENT, LATER, NEVER)
    told = queue.give_back(job)
    assert words(told.job) == {0: "sent", 1: "again", 2: "never"}
    assert words(asked(told.job, seq=9)) == {0: "sent", 1: "later", 2: "later"}


def test_a_row_gives_the_job_again() -> None:
    job = queue.drop(queue.begin(attempt(asked(), NOW, SENT, LATER, NEVER).job, [1])).job
    for one in (job, queue.heard_intent(None, STORE, ID, 1, [0], NOW)):
        assert queue.load(encoding.decode(encoding.encode(queue.dump(one)), limit=1 << 20)) == one


def test_a_row_holds_no_address_and_no_text() -> None:
    said = Outcome(word="later", reason="451 bob@example.org is greylisted", remote="mx.example.org")
    job, fates = attempt(asked(numbers=[0]), NOW, said)
    assert fates[0].reason == said.reason
    assert b"example" not in encoding.encode(queue.dump(job))


OUTCOMES = st.sampled_from((SENT, NEVER, LATER, Outcome(word="later", after=3 * HOUR), None))
WORDS: st.SearchStrategy[Word] = st.sampled_from(("sent", "later", "never"))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("attempt"), st.lists(OUTCOMES, min_size=4, max_size=4)),
        st.tuples(st.just("crash"), st.none()),
        st.tuples(st.just("wait"), st.integers(0, DAYS)),
        st.tuples(st.just("drop"), st.none()),
        st.tuples(st.just("retry"), st.none()),
        st.tuples(st.just("heard"), st.lists(st.tuples(st.integers(0, 3), WORDS), max_size=4)),
        st.tuples(st.just("meant"), st.lists(st.integers(0, 3), max_size=4)),
    ),
    max_size=30,
)


@settings(max_examples=300, deadline=None)
@given(STEPS, st.booleans())
def test_every_recipient_ends_in_exactly_one_way(steps: list[tuple[str, Any]], mail: bool) -> None:
    job, now = asked(numbers=range(4), mail=mail), NOW
    ended: dict[int, Literal["sent", "never", "again"]] = {}

    def told(step: queue.Told) -> Job:
        for fate in step.fates:
            assert fate.number not in ended, "told twice"
            if fate.word in FINAL:
                ended[fate.number] = fate.word  # type: ignore[assignment]  # final words only
        assert {n for n in ended if step.job.recipients[n].word != ended[n]} <= heard
        return step.job

    heard: set[int] = set()
    for what, value in steps:
        ready = queue.ready(job, now)
        if what == "attempt" and ready:
            outcomes = {n: value[n] for n in ready if value[n] is not None}
            job = told(queue.settle(queue.begin(job, ready), outcomes, SCHEDULE, now))
        elif what == "crash":
            job = told(queue.interrupt(queue.begin(job, ready), now))
        elif what == "wait":
            now += value
            job = told(queue.expire(told(queue.interrupt(job, now)), now))
        elif what == "drop":
            job = told(queue.drop(job))
        elif what == "retry":
            job = queue.hurry(job, now)
        elif what == "heard":
            job = queue.heard_receipt(job, STORE, ID, [Fate(n, "", word) for n, word in value], now)
            heard |= {n for n, word in value if word in FINAL}
        elif what == "meant":
            job = queue.heard_intent(job, STORE, ID, 1, value, now)
        assert all(job.recipients[n].word == word or n in heard for n, word in ended.items())
        assert queue.load(encoding.decode(encoding.encode(queue.dump(job)), limit=1 << 20)) == job
    job = told(queue.interrupt(job, now))
    job = told(queue.expire(job, job.deadline))
    assert job.final
    assert set(words(job)) == {0, 1, 2, 3}
    assert ended.keys() | heard == {0, 1, 2, 3}


@given(st.lists(st.sampled_from((SENT, NEVER, LATER)), min_size=3, max_size=3), st.integers(0, 2))
def test_sent_is_for_ever(outcomes: list[Outcome], seq: int) -> None:
    job, _ = attempt(asked(), NOW, *outcomes)
    sent = {n for n, word in words(job).items() if word == "sent"}
    for after in (
        asked(job, seq=seq),
        queue.drop(job).job,
        queue.give_back(job).job,
        queue.expire(job, NOW + GIVE_UP).job,
        queue.heard_intent(job, STORE, ID, 9, range(3), NOW),
        queue.heard_receipt(job, STORE, ID, [Fate(n, "", "never") for n in range(3)], NOW),
    ):
        assert sent <= {n for n, word in words(after).items() if word == "sent"}
        assert not sent & set(queue.ready(after, NOW + HOUR))
