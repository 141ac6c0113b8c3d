"""What else runs on the machine, how the process was started, and what it is short of."""

from __future__ import annotations

import errno
import os
import resource
import signal
import smtplib
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from mesyx_core.cli import exits
from tests.faults.marks import FULL, fault, few
from tests.faults.storage import FOR_EVER, Disk
from tests.faults.trial import LARGE, SMALL, arrived, complete, mail, offer, quiet, started
from tests.scenario.cluster import MESYX, Node, Pair, joined, wait_for
from tests.scenario.listing import exists, imap

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with ExitStack() as stack:
        yield joined(tmp_path_factory.mktemp("process"), stack)


@pytest.fixture
def pair(nodes: Pair) -> Iterator[Pair]:
    """Both running, however the test before left them."""
    for node in (nodes.gateway, nodes.client):
        if node.process is None or node.process.poll() is not None:
            node.start()
    yield nodes
    for node in (nodes.gateway, nodes.client):
        quiet(node.log.read_text())


_number = iter(range(10**6))


def one_more(pair: Pair, size: int = LARGE) -> None:
    """A mail is taken in and shown."""
    before = exists(pair)
    assert offer(pair, mail(next(_number), size)) == 250
    arrived(pair, before + 1)


def pid(node: Node) -> int:
    assert node.process is not None
    return node.process.pid


@fault("two-processes")
def test_a_second_process_on_a_state_folder_is_refused_and_the_first_goes_on(pair: Pair) -> None:
    for node in (pair.gateway, pair.client):
        began = started(node)
        began.refused("another mesyx process is using this state", "stop it")
        assert began.code == exits.UNAVAILABLE
    one_more(pair)


@fault("stale-socket", "stale-lock")
def test_what_a_killed_process_leaves_behind_is_in_nobodys_way(pair: Pair) -> None:
    for node in (pair.gateway, pair.client):
        node.kill()
        assert (node.folder / "state" / "control.sock").is_socket()
        assert node.json("status")["running"] is False
        node.start()
        assert node.json("status")["running"] is True
    one_more(pair)


@fault("descriptors-exhausted")
def test_without_descriptors_new_connections_wait_or_are_refused_and_old_ones_live(pair: Pair) -> None:
    one_more(pair)
    held = resource.prlimit(pid(pair.gateway), resource.RLIMIT_NOFILE)
    used = len(os.listdir(f"/proc/{pid(pair.gateway)}/fd"))
    with smtplib.SMTP("127.0.0.1", pair.smtp, timeout=20) as old:
        old.ehlo()
        resource.prlimit(pid(pair.gateway), resource.RLIMIT_NOFILE, (used + 6, held[1]))
        many = [socket.create_connection(("127.0.0.1", pair.smtp), 20) for _ in range(40)]
        time.sleep(1)
        assert old.noop()[0] == 250
        assert all(offer(pair, mail(next(_number)), timeout=2) in (0, 421, 451, 452) for _ in range(2))
        for each in many:
            each.close()
        assert old.noop()[0] == 250
    resource.prlimit(pid(pair.gateway), resource.RLIMIT_NOFILE, held)
    wait_for("a reply", lambda: offer(pair, mail(next(_number)), timeout=5) == 250)
    one_more(pair)
    assert not any(each["restarts"] for each in pair.gateway.ask("status")["instances"])


@fault("memory-exhausted")
def test_without_memory_a_large_mail_is_put_off_and_the_node_goes_on(pair: Pair) -> None:
    one_more(pair)
    held = resource.prlimit(pid(pair.gateway), resource.RLIMIT_AS)
    size = int(Path(f"/proc/{pid(pair.gateway)}/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.prlimit(pid(pair.gateway), resource.RLIMIT_AS, (size + (2 << 20), held[1]))
    replies = [offer(pair, mail(next(_number), 20 << 20)) for _ in range(2)]
    resource.prlimit(pid(pair.gateway), resource.RLIMIT_AS, held)
    assert all(reply in (0, 250) or 400 <= reply < 500 for reply in replies), replies
    if pair.gateway.process is not None and pair.gateway.process.poll() is not None:
        pair.gateway.start()
    one_more(pair)


@fault("process-stopped")
@pytest.mark.parametrize("of", few("client", "gateway"))
def test_a_node_that_stood_still_goes_on_where_it_was(pair: Pair, of: str) -> None:
    node: Node = getattr(pair, of)
    before = exists(pair)
    os.kill(pid(node), signal.SIGSTOP)
    taken = 0 if of == "gateway" else sum(offer(pair, mail(next(_number))) == 250 for _ in range(3))
    time.sleep(60 if FULL else 6)
    os.kill(pid(node), signal.SIGCONT)
    arrived(pair, before + taken, 60)
    one_more(pair)


@fault("disk-slow")
def test_a_disk_that_takes_two_seconds_to_sync_keeps_nobody_else_waiting(pair: Pair, tmp_path: Path) -> None:
    pair.gateway.stop()
    disk = Disk(pair.gateway, tmp_path)
    try:
        pair.gateway.start()
        with disk.slow(2000), ExitStack() as stack:
            sender = stack.enter_context(smtplib.SMTP("127.0.0.1", pair.smtp, timeout=60))
            sender.ehlo()
            sender.mail("sender@example.com")
            sender.rcpt(pair.address)
            sender.putcmd("data")
            assert sender.getreply()[0] == 354
            sender.send(mail(next(_number)) + b"\r\n.\r\n")
            slowest, until = 0.0, time.monotonic() + 2
            while time.monotonic() < until:
                began = time.monotonic()
                with smtplib.SMTP("127.0.0.1", pair.smtp, timeout=20) as other:
                    assert other.noop()[0] == 250
                slowest = max(slowest, time.monotonic() - began)
            assert sender.getreply()[0] == 250
        assert slowest < 1.5
        one_more(pair)
    finally:
        pair.gateway.stop()
        pair.gateway.environment.clear()


@fault("killed-while-starting", "terminated-while-starting")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["SIGKILL", "SIGTERM"])
def test_a_start_may_be_ended_at_any_moment(pair: Pair, number: signal.Signals) -> None:
    one_more(pair)
    for node in (pair.gateway, pair.client):
        node.kill()
        for step in range(1, 30) if FULL else (4, 9):

            def end(process: subprocess.Popen[str]) -> None:
                process.send_signal(number)

            began = started(node, step * 0.1, end)
            quiet(began.said)
            assert began.code in (0, -number), began.said
        node.start()
    one_more(pair)


@fault("log-full", "log-closed")
@pytest.mark.parametrize("how", few("closed", "full"))
def test_a_log_that_takes_nothing_keeps_no_mail_back(pair: Pair, how: str) -> None:
    pair.gateway.stop()
    words = f"{' '.join([*MESYX, 'run', '-c', str(pair.gateway.config)])} 2>{'/dev/full' if how == 'full' else '&-'}"
    with subprocess.Popen(["sh", "-c", f"exec {words}"], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            with socket.create_connection(("127.0.0.1", pair.smtp)) as peer:
                peer.sendall(b"\xff\xfe\r\n" * 3)
            one_more(pair)
        finally:
            process.terminate()
        assert process.wait(10) == 0


@fault("umask-open", "locale-c")
def test_neither_umask_nor_locale_opens_a_file_or_breaks_a_letter(tmp_path: Path) -> None:
    before = os.umask(0)
    plain = {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    held = {name: os.environ.get(name) for name in plain}
    os.environ.update(plain)
    try:
        with ExitStack() as stack:
            pair = joined(tmp_path, stack)
            assert offer(pair, "Subject: Grüße\r\nMessage-ID: <u@example.com>\r\n\r\nZürich ✓\r\n".encode()) == 250
            complete(pair, 1)
            with imap(pair) as client:
                client.select("INBOX")
                answer = client.fetch("1", "(BODY.PEEK[])")[1][0]
                assert isinstance(answer, tuple)
                assert "Zürich ✓".encode() in answer[1]
            for node in (pair.gateway, pair.client):
                quiet(node.log.read_text())
                for path in [node.folder / "state", *(node.folder / "state").rglob("*")]:
                    assert path.stat().st_mode & 0o077 == 0, path
    finally:
        os.umask(before)
        for name, value in held.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


@fault("config-broken-at-reload")
def test_a_config_that_is_broken_at_reload_leaves_the_old_one_at_work(pair: Pair) -> None:
    text = pair.gateway.config.read_text()
    pair.gateway.config.write_text(text + "\n[ingress.mx2\n")
    try:
        os.kill(pid(pair.gateway), signal.SIGHUP)
        wait_for("the reason", lambda: "the new config is refused" in pair.gateway.log.read_text())
        assert pair.gateway.cli("reload", check=False).returncode == exits.CONFIG
        one_more(pair)
    finally:
        pair.gateway.config.write_text(text)
    assert pair.gateway.cli("reload").returncode == 0


@fault("read-only-running")
def test_a_file_system_that_turns_read_only_puts_mail_off_until_it_is_writable(pair: Pair, tmp_path: Path) -> None:
    pair.gateway.stop()
    disk = Disk(pair.gateway, tmp_path)
    try:
        pair.gateway.start()
        one_more(pair)
        with disk.failing(0, errno.EROFS, FOR_EVER):
            for size in (SMALL, LARGE):
                assert 400 <= offer(pair, mail(next(_number), size)) < 500
        wait_for("a reply", lambda: offer(pair, mail(next(_number))) == 250)
        one_more(pair)
    finally:
        pair.gateway.stop()
        pair.gateway.environment.clear()


@fault("read-only-start")
def test_a_start_on_a_read_only_file_system_is_refused_with_the_reason(pair: Pair) -> None:
    state = pair.gateway.folder / "state"
    pair.gateway.kill()
    subprocess.run(["mount", "--bind", state, state], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", state, state], check=True)
        started(pair.gateway).refused("cannot be written")
    finally:
        subprocess.run(["umount", "-l", state], check=True)
    pair.gateway.start()
    one_more(pair)
