"""How long a peer may take, on a clock that is turned."""

from __future__ import annotations

from mesyx_smtp.config import Timeouts
from mesyx_smtp.engine import Engine
from mesyx_smtp.events import Recipient
from mesyx_smtp.limits import Limits
from mesyx_smtp.patience import RATE, Patience

from mesyx_core.api import Receipt, Verdict

LIMITS = Timeouts(command=300, data=180, message=600)


class Line:
    """An engine, and a peer that sends at given times."""

    def __init__(self) -> None:
        self.engine = Engine("mx", Limits())
        self.patience = Patience(LIMITS, self.engine, 0)

    def send(self, data: bytes, now: float) -> None:
        self.engine.feed(data)
        self.patience.came(len(data), now)
        while (event := self.engine.next()) is not None:
            if isinstance(event, Recipient):
                self.engine.recipient(Verdict(word="accept"))
        if self.engine.output():
            self.patience.answered(now)

    def begin(self, now: float, data: bytes = b"DATA\r\n") -> None:
        self.send(b"EHLO far\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\n" + data, now)


def test_a_command_has_its_time_however_it_drips() -> None:
    line = Line()
    for now in range(0, 300, 10):
        line.send(b"N", now)
        assert line.patience.left(now) == 300 - now
    line.send(b"\r\nNOOP\r\n", 299)
    assert line.patience.left(299) == 300


def test_silence_amid_a_message_has_less() -> None:
    line = Line()
    line.begin(10)
    line.send(b"Subject: x\r\n", 20)
    assert line.patience.left(20) == 180


def test_content_that_drips_has_a_time_in_all_that_grows_with_what_came() -> None:
    line = Line()
    line.begin(0)
    now = 0
    while line.patience.left(now) > 0:
        now += 60
        line.send(b"x", now)
    assert 600 <= now <= 720
    line = Line()
    line.begin(0)
    for now in range(0, 36_000, 10):  # ten hours at twice the pace
        line.send(b"x" * int(20 * RATE), now)
        assert line.patience.left(now) == 180


def test_tiny_chunks_buy_no_more() -> None:
    line = Line()
    line.begin(0, b"BDAT 1\r\nx")
    now = 0
    while line.patience.left(now) > 0:
        now += 60
        line.send(b"BDAT 1\r\nx", now)
    assert 600 <= now <= 720


def test_each_message_has_its_own_time() -> None:
    line = Line()
    for now in range(0, 10_000, 500):
        line.begin(now, b"BDAT 1\r\nx")
        line.send(b"BDAT 1 LAST\r\nx", now + 170)
        line.engine.kept(Receipt(verdicts={"b@example.org": Verdict(word="accept")}, trace="1"))
        line.engine.output()
        line.patience.answered(now + 170)
        assert line.patience.left(now + 170) == 300
