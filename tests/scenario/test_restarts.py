"""What people do to their mail in mbsync and mutt is still so after every kind of restart of every node."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mesyx_core.testing.mbsync import Mbsync
from tests.scenario.cluster import Node, Pair, wait_for
from tests.scenario.listing import exists, imap, shown, sound
from tests.scenario.readers import mutt
from tests.scenario.senders import Senders

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(300)]

NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def mail(name: str) -> bytes:
    return (
        f"From: Bob <bob@example.com>\r\nTo: alice@example.org\r\nSubject: mail {name}\r\n"
        f"Message-ID: <{name}@mail.example.com>\r\nDate: Mon, 2 Sep 2002 12:19:25 +0200\r\n\r\nThis is {name}.\r\n"
    ).encode()


@pytest.fixture(scope="module")
def filed(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> Mbsync:
    """Ten mails, and what mbsync and then mutt made of them."""
    senders = Senders(pair.smtp, pair.address, 1)
    senders.send(map(mail, NAMES))
    assert len(senders.accepted) == len(NAMES), senders.refused
    wait_for("the mails at the client", lambda: exists(pair) == len(NAMES))
    mbsync = Mbsync.make(tmp_path_factory.mktemp("mbsync"), pair.imap, pair.user, pair.password)
    mbsync.sync()
    by_mbsync(mbsync)
    with mutt(tmp_path_factory.mktemp("mutt"), pair.imap, pair.user, pair.password) as reader:
        reader.shows("INBOX 8 messages")
        reader.press("/mail four", "Enter", "F")
        time.sleep(0.3)
        reader.press("/mail five", "Enter", "s", "C-u", "=Archive", "Enter")
        time.sleep(0.3)
        reader.press("/mail six", "Enter", "d")
        time.sleep(0.3)
        reader.press("/mail seven", "Enter", "N")
        time.sleep(0.3)
        reader.press("/mail eight", "Enter", "C", "C-u", "=Projects", "Enter")
        time.sleep(0.3)
        reader.press("$")
        reader.shows("INBOX 6 messages")
        reader.quit()
    return mbsync


def by_mbsync(mbsync: Mbsync) -> None:
    """Flags on zero and one, two into a mailbox of its own, three gone."""
    files = {name: next(f for f in mbsync.files() if f"mail {name}\n" in f.read_text()) for name in NAMES}
    mbsync.flag(files["zero"], "FS")
    mbsync.flag(files["one"], "RS")
    work = mbsync.mailbox("Work")
    for part in ("cur", "new", "tmp"):
        (work / part).mkdir(parents=True)
    files["two"].rename(work / "cur" / "1.two.host:2,S")
    files["three"].unlink()
    mbsync.sync()


def test_what_mbsync_and_mutt_did_is_shown(pair: Pair, filed: Mbsync) -> None:
    found = shown(pair)
    inbox = found["INBOX"]
    assert inbox.flags("<zero@") == {"\\Flagged", "\\Seen"}
    assert inbox.flags("<one@") == {"\\Answered", "\\Seen"}
    assert found["Work"].flags("<two@") == {"\\Seen"}
    assert "\\Flagged" in inbox.flags("<four@")
    assert "<five@" in found["Archive"]
    assert "<eight@" in found["Projects"]
    assert len(inbox.messages) == 6
    for gone in ("<two@", "<three@", "<five@", "<six@"):
        assert gone not in inbox


def terminate(node: Node) -> None:
    assert node.stop() == 0


@pytest.mark.parametrize("end", [terminate, Node.kill], ids=["SIGTERM", "kill -9"])
def test_it_survives_a_restart_of_everything(pair: Pair, filed: Mbsync, end: Callable[[Node], None]) -> None:
    before = shown(pair)
    for node in (pair.gateway, pair.client):
        end(node)
    for node in (pair.gateway, pair.client):
        sound(node)
        node.start()
    assert shown(pair) == before


def test_mbsync_sees_the_same_after_it(pair: Pair, filed: Mbsync, tmp_path: Path) -> None:
    filed.sync()
    before = filed.listing()
    for node in (pair.gateway, pair.client):
        node.kill()
        node.start()
    filed.sync()
    assert filed.listing() == before
    fresh = Mbsync.make(tmp_path, pair.imap, pair.user, pair.password)
    fresh.sync()
    assert fresh.subjects() == filed.subjects()


def test_a_change_that_was_answered_ok_survives_kill_9_at_once(pair: Pair, filed: Mbsync) -> None:
    for number, keyword in enumerate(("red", "green", "blue")):
        with imap(pair) as client:
            client.select("INBOX")
            assert client.store("1:*", "+FLAGS", f"({keyword})")[0] == "OK"
            assert client.copy(str(number + 1), "Archive")[0] == "OK"
            pair.client.kill()
        pair.client.start()
        found = shown(pair)
        assert all(keyword in flags for flags, _ in found["INBOX"].messages.values())
        assert len(found["Archive"].messages) == 2 + number


def test_new_mail_comes_after_all_that(pair: Pair, filed: Mbsync) -> None:
    Senders(pair.smtp, pair.address, 1).send([mail("ten")])
    wait_for("the mail at the client", lambda: "<ten@" in shown(pair)["INBOX"])
