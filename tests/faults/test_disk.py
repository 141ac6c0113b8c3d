"""The disk fails under a real node: at every single call that changes a file, for a while, for good, and by filling up."""

from __future__ import annotations

import errno
import imaplib
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.faults.marks import FULL, fault, few
from tests.faults.storage import FOR_EVER, Disk
from tests.faults.trial import LARGE, SMALL, arrived, complete, copied, mail, offer, quiet, started
from tests.scenario.cluster import Node, Pair, joined, wait_for
from tests.scenario.listing import exists, imap, shown, sound

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(600)]


@contextmanager
def at_every_call(disk: Disk, code: int, count: int = 1) -> Iterator[Iterator[Disk]]:
    """Yields the disk once for each place to fail at, or every fourth, until a whole run was not touched."""

    def places() -> Iterator[Disk]:
        for call in range(0, 500, 1 if FULL else 4):
            with disk.failing(call, code, count) as failing:
                yield failing
                if not failing.struck:
                    assert call, "the fault never struck: nothing was tested"
                    return
        raise AssertionError("no end of calls")

    yield places()


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Two nodes that were stopped; a copy of them starts in a third of the time that it takes to make them."""
    with ExitStack() as stack:
        made = joined(tmp_path_factory.mktemp("ended"), stack)
        assert made.gateway.stop() == made.client.stop() == 0
        yield made


@pytest.fixture
def pair(ended: Pair, tmp_path: Path) -> Iterator[Pair]:
    made = copied(ended, tmp_path)
    try:
        made.gateway.start()
        made.client.start()
        yield made
    finally:
        made.gateway.kill()
        made.client.kill()


def restarted_on(disk_of: str, pair: Pair, folder: Path) -> Disk:
    node = pair.gateway if disk_of == "gateway" else pair.client
    node.stop()
    disk = Disk(node, folder)
    node.start()
    return disk


@fault("disk-error-accept", "disk-full-accept")
@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("code", few(errno.EIO, errno.ENOSPC))
def test_a_call_that_fails_while_mail_is_taken_in_loses_nothing_acknowledged(
    pair: Pair, tmp_path: Path, code: int, size: int
) -> None:
    disk = restarted_on("gateway", pair, tmp_path)
    sent, acknowledged, number = {0: mail(0, size)}, {0}, 0
    assert offer(pair, sent[0]) == 250
    with at_every_call(disk, code) as places:
        for failing in places:
            number += 1
            sent[number] = mail(number, size)
            reply = offer(pair, sent[number])
            assert reply == 250 or 400 <= reply < 500, (number, reply)
            if reply == 250:
                acknowledged.add(number)
            assert pair.gateway.process is not None
            assert pair.gateway.process.poll() is None
            if not failing.struck:
                assert reply == 250
    refused = set(sent) - acknowledged
    assert refused or not FULL  # of all the places one is the message's own
    for number in refused:  # as their sender does
        assert offer(pair, sent[number]) == 250
    complete(pair, len(sent))
    assert pair.gateway.stop() == 0
    sound(pair.gateway)


@fault("disk-error-receive", "disk-full-receive")
@pytest.mark.parametrize("code", few(errno.EIO, errno.ENOSPC))
def test_a_call_that_fails_at_the_client_delays_what_comes_and_nothing_more(
    pair: Pair, tmp_path: Path, code: int
) -> None:
    disk, number = restarted_on("client", pair, tmp_path), 0
    for call in range(0, 60, 3 if FULL else 20):
        with disk.failing(call, code, 3):
            until = number + 20
            while not disk.struck:
                assert number < until, "the fault never struck"
                for size in (SMALL, LARGE):
                    assert offer(pair, mail(number, size)) == 250
                    number += 1
                wait_for("the mail or the fault", lambda: disk.struck or there(pair, number))  # noqa: B023  # at once
        arrived(pair, number)
    complete(pair, number)
    assert pair.client.stop() == 0
    sound(pair.client)


def there(pair: Pair, count: int) -> bool:
    """Whether so many mails are shown, as far as one can see."""
    with suppress(imaplib.IMAP4.error, OSError, ValueError):
        return exists(pair) >= count
    return False


@fault("disk-error-change", "disk-full-change")
@pytest.mark.parametrize("code", few(errno.EIO, errno.ENOSPC))
def test_a_change_that_cannot_be_kept_is_answered_no_and_one_answered_ok_stays(
    pair: Pair, tmp_path: Path, code: int
) -> None:
    disk = restarted_on("client", pair, tmp_path)
    many = 40 if FULL else 8
    for number in range(many):
        assert offer(pair, mail(number, SMALL)) == 250
    arrived(pair, many)
    done: set[int] = set()
    struck = 0
    for number in range(1, many + 1):
        with disk.failing((number - 1) * 40 // many, code):
            if flagged(pair, number):
                done.add(number)
            struck += disk.struck
        wait_for("changes to be kept again", lambda: flagged(pair, number))  # noqa: B023  # called at once
        done.add(number)
        assert pair.client.process is not None
        assert pair.client.process.poll() is None
    assert struck
    pair.client.stop()
    pair.client.start()
    with imap(pair) as client:
        client.select("INBOX")
        found = {int(word) for word in client.search(None, "FLAGGED")[1][0].split()}
    assert done <= found


def flagged(pair: Pair, number: int) -> bool:
    """Whether it is answered OK."""
    try:
        with imap(pair) as client:
            client.select("INBOX")
            return client.store(str(number), "+FLAGS", "(\\Flagged)")[0] == "OK"
    except (imaplib.IMAP4.error, OSError):
        return False


def filed(pair: Pair, letter: bytes) -> bool:
    """Whether it is answered OK."""
    try:
        with imap(pair) as client:
            return client.append("INBOX", "", "", letter)[0] == "OK"
    except (imaplib.IMAP4.error, OSError):
        return False


@fault("disk-error-append", "disk-full-append")
@pytest.mark.parametrize("code", few(errno.EIO, errno.ENOSPC))
def test_a_mail_that_a_program_files_is_kept_or_answered_no(pair: Pair, tmp_path: Path, code: int) -> None:
    disk = restarted_on("client", pair, tmp_path)
    kept: set[int] = set()
    fresh = iter(range(1000))
    for place in range(0, 500, 3 if FULL else 12):
        number = next(fresh)
        with disk.failing(place, code):
            if filed(pair, mail(number, LARGE if number % 2 else SMALL)):
                kept.add(number)
            struck = disk.struck
        if not struck:  # all that filing takes has been failed: this one was filed in peace
            assert number in kept
            break
        wait_for("mail to be filed again", lambda: filed(pair, mail(next(fresh), SMALL)))
    assert kept
    assert pair.client.stop() == 0
    sound(pair.client)
    pair.client.environment.clear()
    pair.client.start()
    ids = [field for _, field in shown(pair)["INBOX"].messages.values()]
    assert len(set(ids)) == len(ids)
    for number in kept:
        assert any(b"<%d." % number in field for field in ids), number


@fault("disk-error-index")
def test_an_index_that_cannot_be_written_delays_what_is_shown(pair: Pair, tmp_path: Path) -> None:
    pair.client.stop()
    disk = Disk(pair.client, tmp_path)
    pair.client.environment["FAULT_ROOT"] = str(pair.client.folder / "state" / "mailbox")
    pair.client.start()
    with disk.failing(0, errno.EIO, FOR_EVER):
        for number in range(4):
            assert offer(pair, mail(number, LARGE if number % 2 else SMALL)) == 250
        wait_for("the fault to strike", lambda: disk.struck)
    complete(pair, 4)
    assert pair.client.stop() == 0
    sound(pair.client)


@fault("disk-error-start", "disk-full-start")
@pytest.mark.parametrize(
    ("of", "code"),
    [("gateway", errno.EIO), ("client", errno.ENOSPC), ("gateway", errno.ENOSPC), ("client", errno.EIO)][
        : 4 if FULL else 2
    ],
)
def test_a_start_on_a_failing_disk_ends_with_a_reason_and_leaves_all_in_place(
    pair: Pair, tmp_path: Path, of: str, code: int
) -> None:
    assert offer(pair, mail(1, LARGE)) == 250
    arrived(pair, 1)
    node = pair.gateway if of == "gateway" else pair.client
    node.kill()
    disk = Disk(node, tmp_path)
    for call in range(0, 200, 3) if FULL else (0, 4, 5, 8, 13, 21, 34):
        with disk.failing(call, code, FOR_EVER):
            began = started(node)
            quiet(began.said)
            if began.code != 0:
                began.refused()
        if not disk.struck:
            break
    node.environment.clear()
    node.start()
    assert offer(pair, mail(2, LARGE)) == 250
    complete(pair, 2)


@fault("disk-small", "disk-reserve")
@pytest.mark.parametrize("reserve", few("0", "1 MiB"))
def test_a_disk_that_fills_up_refuses_temporarily_and_goes_on_when_there_is_room(pair: Pair, reserve: str) -> None:
    config = pair.gateway.config.read_text()
    pair.gateway.config.write_text(config.replace("[node]\n", f'[node]\ndisk_reserve = "{reserve}"\n', 1))
    with small_disk(pair.gateway, 64) as ballast:
        sent = {0: mail(0, LARGE)}
        assert offer(pair, sent[0]) == 250
        refused = []
        for number in range(1, 6):
            fill(ballast)
            sent[number] = mail(number, SMALL if number % 2 else LARGE)
            reply = offer(pair, sent[number])
            assert reply in (250, 451, 452), reply
            if reply != 250:
                refused.append(number)
        assert refused
        if reserve != "0":
            said = pair.gateway.cli("doctor", check=False)
            assert said.returncode == 1
            assert "of disk are free" in said.stdout
        ballast.unlink()
        for number in refused:  # the node looks for room now and then
            wait_for("room to be seen", lambda: offer(pair, sent[number]) == 250)  # noqa: B023  # called at once
        complete(pair, len(sent))
        assert pair.gateway.stop() == 0
        sound(pair.gateway)


@contextmanager
def small_disk(node: Node, mebibytes: int) -> Iterator[Path]:
    """Move a node's state to a file system of its own; yields a file there to fill it with."""
    node.stop()
    state, kept = node.folder / "state", node.folder / "kept"
    state.rename(kept)
    state.mkdir(mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m,mode=700", "mesyx-test", state], check=True)
    try:
        for entry in kept.iterdir():
            if not entry.is_socket():
                subprocess.run(["cp", "-a", entry, state], check=True)
        node.start()
        yield state / "ballast"
    finally:
        node.kill()
        subprocess.run(["umount", state], check=True)


def fill(ballast: Path) -> None:
    """Until nothing more goes in."""
    with ballast.open("ab", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return
