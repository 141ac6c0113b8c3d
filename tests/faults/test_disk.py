"""The disk fails under a real node: at every single call that changes a file, for a while, for good, and by filling up."""

from __future__ import annotations

import errno
import imaplib
import os
import smtplib
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.faults import fault
from tests.faults.storage import FOR_EVER, Disk
from tests.scenario.cluster import MESYX, Node, Pair, joined, wait_for
from tests.scenario.listing import exists, imap, shown, sound

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(600)]

SMALL, LARGE = 800, 60_000
"""Octets of a mail that lies in its entry, and of one whose body is a file of its own."""


def mail(number: int, size: int) -> bytes:
    line = os.urandom(32).hex().encode() + b"\r\n"
    head = b"Subject: fault %d\r\nMessage-ID: <%d.%d@faults.example.com>\r\n\r\n" % (number, number, size)
    return head + line * (size // len(line))


def offer(pair: Pair, message: bytes) -> int:
    """The reply code to a message on a connection of its own; 0 when the gateway hung up."""
    try:
        with smtplib.SMTP("127.0.0.1", pair.smtp, "sender.example.com", timeout=30) as client:
            client.ehlo()
            client.mail("sender@example.com")
            code, _ = client.rcpt(pair.address)
            return client.data(message)[0] if code == 250 else code
    except smtplib.SMTPDataError as error:
        return error.smtp_code
    except (smtplib.SMTPException, OSError):
        return 0


@contextmanager
def at_every_call(disk: Disk, code: int, count: int = 1) -> Iterator[Iterator[Disk]]:
    """Yields the disk once for each place to fail at, until a whole run was not touched."""

    def places() -> Iterator[Disk]:
        for call in range(500):
            with disk.failing(call, code, count) as failing:
                yield failing
                if not failing.struck:
                    assert call > 3, "the fault never struck: nothing was tested"
                    return
        raise AssertionError("no end of calls")

    yield places()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with ExitStack() as stack:
        yield joined(tmp_path, stack)


def restarted_on(disk_of: str, pair: Pair, folder: Path) -> Disk:
    node = pair.gateway if disk_of == "gateway" else pair.client
    node.stop()
    disk = Disk(node, folder)
    node.start()
    return disk


@fault("disk-error-accept", "disk-full-accept")
@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
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
    assert refused
    for number in refused:  # as their sender does
        assert offer(pair, sent[number]) == 250
    complete(pair, len(sent))
    assert pair.gateway.stop() == 0
    sound(pair.gateway)


def complete(pair: Pair, count: int) -> None:
    """So many mails, each once."""
    arrived(pair, count)
    ids = [field for _, field in shown(pair)["INBOX"].messages.values()]
    assert len(set(ids)) == len(ids) == count


def arrived(pair: Pair, count: int) -> None:
    wait_for(f"{count} mails at the client", lambda: exists(pair) >= count)


@fault("disk-error-receive", "disk-full-receive")
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_a_call_that_fails_at_the_client_delays_what_comes_and_nothing_more(
    pair: Pair, tmp_path: Path, code: int
) -> None:
    disk, number = restarted_on("client", pair, tmp_path), 0
    for call in range(0, 60, 6):
        with disk.failing(call, code, 3):
            for size in (SMALL, LARGE):
                assert offer(pair, mail(number, size)) == 250
                number += 1
            wait_for("the fault to strike", lambda: disk.struck, 10)
        arrived(pair, number)
    complete(pair, number)
    assert pair.client.stop() == 0
    sound(pair.client)


@fault("disk-error-change", "disk-full-change")
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_a_change_that_cannot_be_kept_is_answered_no_and_one_answered_ok_stays(
    pair: Pair, tmp_path: Path, code: int
) -> None:
    disk = restarted_on("client", pair, tmp_path)
    for number in range(40):
        assert offer(pair, mail(number, SMALL)) == 250
    wait_for("the mails", lambda: exists(pair) == 40)
    done: set[int] = set()
    for number in range(40):
        with disk.failing(number, code):
            try:
                with imap(pair) as client:
                    client.select("INBOX")
                    if client.store(str(number + 1), "+FLAGS", "(\\Flagged)")[0] == "OK":
                        done.add(number + 1)
            except (imaplib.IMAP4.abort, OSError):
                pass
        assert pair.client.process is not None
        assert pair.client.process.poll() is None
    assert done
    pair.client.stop()
    pair.client.start()
    with imap(pair) as client:
        client.select("INBOX")
        flagged = {int(word) for word in client.search(None, "FLAGGED")[1][0].split()}
    assert done <= flagged


@fault("disk-error-start", "disk-full-start")
@pytest.mark.parametrize("of", ["gateway", "client"])
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_a_start_on_a_failing_disk_ends_with_a_reason_and_leaves_all_in_place(
    pair: Pair, tmp_path: Path, of: str, code: int
) -> None:
    assert offer(pair, mail(1, LARGE)) == 250
    wait_for("the mail", lambda: exists(pair) == 1)
    node = pair.gateway if of == "gateway" else pair.client
    node.kill()
    disk = Disk(node, tmp_path)
    for call in range(0, 200, 5):
        with disk.failing(call, code, FOR_EVER):
            words = ["run", "-c", str(node.config)] + (
                ["--passphrase-file", str(node.passphrase)] if node.passphrase else []
            )
            started = subprocess.Popen(
                [*MESYX, *words],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, **node.environment},
            )
            try:
                _, said = started.communicate(timeout=3)
            except subprocess.TimeoutExpired:  # it runs, and says to whom it matters that it cannot write
                started.kill()
                started.communicate()
                continue
            assert started.returncode not in (0, 70), said
            assert "Traceback" not in said
            assert "\n" in said
        if not disk.struck:
            break
    node.environment.clear()
    node.start()
    assert offer(pair, mail(2, LARGE)) == 250
    complete(pair, 2)


@fault("disk-small")
def test_a_disk_that_fills_up_refuses_temporarily_and_goes_on_when_there_is_room(pair: Pair, tmp_path: Path) -> None:
    with small_disk(pair.gateway, 24) as ballast:
        sent = {0: mail(0, LARGE)}
        assert offer(pair, sent[0]) == 250
        fill(ballast)
        refused = []
        for number in range(1, 6):
            sent[number] = mail(number, SMALL if number % 2 else LARGE)
            reply = offer(pair, sent[number])
            assert reply in (250, 451, 452), reply
            if reply != 250:
                refused.append(number)
        assert refused
        said = pair.gateway.cli("doctor", check=False)
        assert said.returncode == 1
        assert "disk" in said.stdout
        ballast.unlink()
        for number in refused:
            assert offer(pair, sent[number]) == 250
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
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return
