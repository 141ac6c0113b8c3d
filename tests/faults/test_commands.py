"""The disk fails under a command that a person types: it says so, leaves nothing half done, and can be typed again."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from mesyx_core.cli import exits
from tests.faults.marks import FULL, fault, few
from tests.faults.storage import FOR_EVER, Disk
from tests.faults.trial import LARGE, complete, copied, mail, offer, quiet
from tests.scenario.cluster import MESYX, Node, Pair, client, gateway, joined

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(600)]

PLACES = range(0, 150, 6) if FULL else (6, 25)


def typed(words: Sequence[str | Path], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*MESYX, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **environment},
    )


def explained(done: subprocess.CompletedProcess[str]) -> None:
    """It worked, or said in a line why not."""
    quiet(done.stdout + done.stderr)
    assert done.returncode != exits.INTERNAL
    assert done.returncode == 0 or any(line.startswith("mesyx: ") for line in done.stderr.splitlines()), done.stderr


def at_places(node: Node, folder: Path, words: Sequence[str | Path], then: Callable[[Node, bool], None]) -> None:
    """The command on copies of a node whose disk fails at one place each and for good; `then` looks whether all is well
    once the disk is sound again."""
    for number, call in enumerate(PLACES):
        copy = Node(folder / f"{node.folder.name}.{call}", node.roles, node.passphrase, node.ports)
        subprocess.run(["cp", "-a", node.folder, copy.folder], check=True)
        disk = Disk(copy, folder)
        with disk.failing(call, errno.ENOSPC if number % 2 else errno.EIO, FOR_EVER):
            done = typed([*words, "-c", copy.config], copy.environment)
            struck = disk.struck
        explained(done)
        copy.environment.clear()
        then(copy, done.returncode == 0)
        shutil.rmtree(copy.folder)
        if not struck:
            assert number, "the fault never struck: nothing was tested"
            return


@fault("disk-error-init")
def test_a_node_is_made_whole_or_can_be_made_again(tmp_path: Path) -> None:
    for call in range(40) if FULL else (0, 2, 4):
        node = Node(tmp_path / f"node{call}", ("client",))
        disk = Disk(node, tmp_path)
        node.environment["FAULT_ROOT"] = str(tmp_path)
        words: tuple[str | Path, ...] = ("init", node.folder, "--role", "client")
        with disk.failing(call, errno.EIO, FOR_EVER):
            done = typed(words, node.environment)
        explained(done)
        if done.returncode != 0:
            again = typed(words, {})
            assert again.returncode == 0, again.stderr
        assert node.cli("status").returncode == 0
        assert (node.folder / "state" / "node.key").stat().st_mode & 0o777 == 0o600
        if not disk.struck:
            return


@fault("disk-error-store-create")
def test_a_store_is_made_with_its_recovery_kit_or_not_at_all(tmp_path: Path) -> None:
    laptop = client(tmp_path / "laptop")
    laptop.cli("status")
    assert laptop.passphrase is not None
    words = ("store", "create", "alice", "--passphrase-file", laptop.passphrase)

    def then(node: Node, done: bool) -> None:
        assert [store["name"] for store in node.json("store", "list")] == ["alice"] * done or not done
        if not done:
            assert "-----BEGIN AGE" in node.cli(*words).stdout
        assert [store["name"] for store in node.json("store", "list")] == ["alice"]

    at_places(laptop, tmp_path, words, then)


@fault("disk-error-invite")
def test_an_invitation_is_shown_once_it_is_kept(tmp_path: Path) -> None:
    mx = gateway(tmp_path / "mx1")
    mx.cli("status")
    words = ("node", "invite", "--role", "exchange")

    def then(node: Node, done: bool) -> None:
        assert node.cli(*words).stdout.splitlines()[-1]

    at_places(mx, tmp_path, words, then)


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with ExitStack() as stack:
        pair = joined(tmp_path_factory.mktemp("ended"), stack)
        assert pair.gateway.stop() == pair.client.stop() == 0
        yield pair


@fault("disk-error-login")
def test_an_app_password_is_shown_once_it_works(ended: Pair, tmp_path: Path) -> None:
    words = ("login", "add", "alice", "--label", "phone")

    def then(node: Node, done: bool) -> None:
        labels = [login["label"] for login in json.loads(node.cli("login", "list", "--json").stdout)]
        assert labels.count("phone") <= 1
        assert not done or "phone" in labels
        if not done and "phone" not in labels:
            node.cli(*words)

    at_places(ended.client, tmp_path, words, then)


@fault("disk-error-address")
def test_an_address_is_granted_or_not(ended: Pair, tmp_path: Path) -> None:
    [store] = ended.gateway.json("store", "list")
    words = ("store", "address", "add", "second@example.org", "--store", store["name"])

    def then(node: Node, done: bool) -> None:
        if not done:
            node.cli(*words, check=False)
        assert "second@example.org" in node.cli("store", "address", "list").stdout

    at_places(ended.gateway, tmp_path, words, then)


@fault("disk-error-join-client", "disk-error-join-gateway")
@pytest.mark.parametrize("of", few("gateway", "client"))
def test_a_join_that_the_disk_broke_is_completed_by_the_same_command(ended: Pair, tmp_path: Path, of: str) -> None:
    """Of a second gateway, by a client that does not run."""
    assert ended.client.passphrase is not None
    for call in range(0, 90, 6) if FULL else (8,):
        folder = tmp_path / str(call)
        folder.mkdir()
        laptop, mx = copied(ended, folder).client, gateway(folder / "mx2")
        assert laptop.passphrase is not None
        try:
            disk = Disk(laptop if of == "client" else mx, folder)
            mx.start()
            roles = ("--role", "accept", "--role", "exchange", "--address", "carol@example.org")
            invitation = mx.cli("node", "invite", *roles).stdout.splitlines()[-1]
            words = ("store", "add-node", "alice", invitation, "--passphrase-file", laptop.passphrase)
            with disk.failing(call, errno.EIO, 4):
                done = typed([*words, "-c", laptop.config], laptop.environment)
                struck = disk.struck
            explained(done)
            laptop.environment.clear()
            assert "holds alice" in laptop.cli(*words).stdout
            laptop.start()
            second = Pair(mx, laptop, "carol@example.org", ended.user, ended.password)
            assert offer(second, mail(1, LARGE)) == 250
            complete(second, 1)
            quiet(mx.log.read_text() + laptop.log.read_text())
        finally:
            mx.kill()
            laptop.kill()
        shutil.rmtree(folder)
        if not struck:  # all that it takes has been failed
            assert call, "the fault never struck: nothing was tested"
            return
