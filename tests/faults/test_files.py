"""Files of a node are damaged or gone."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.faults.marks import FULL, fault, few
from tests.faults.trial import LARGE, SMALL, arrived, complete, copied, mail, offer, quiet, started
from tests.scenario.cluster import Node, Pair, joined, wait_for
from tests.scenario.listing import exists

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Two nodes that were stopped, with three mails."""
    with ExitStack() as stack:
        pair = joined(tmp_path_factory.mktemp("ended"), stack)
        for number, size in enumerate((SMALL, LARGE, LARGE)):
            assert offer(pair, mail(number, size)) == 250
        arrived(pair, 3)
        for node in (pair.gateway, pair.client):
            assert node.stop() == 0
        yield pair


@pytest.fixture
def pair(ended: Pair, tmp_path: Path) -> Iterator[Pair]:
    """A copy of them, to do harm to."""
    made = copied(ended, tmp_path)
    yield made
    made.gateway.kill()
    made.client.kill()


def flipped(file: Path, first: int = 0, size: int | None = None) -> None:
    """Overwrite bytes with noise, by default all."""
    data = bytearray(file.read_bytes())
    last = len(data) if size is None else min(len(data), first + size)
    assert last > first, f"{file} has nothing there"
    data[first:last] = os.urandom(last - first)
    file.write_bytes(data)


@contextmanager
def harm(file: Path, do: Callable[[Path], None]) -> Iterator[None]:
    """Do it, and afterwards put the file back as an administrator does from a backup."""
    kept = file.with_name(f"{file.name}.kept")
    shutil.copy2(file, kept)
    do(file)
    yield
    shutil.move(kept, file)


def both_run(pair: Pair, count: int = 3) -> None:
    """All mail is shown, and new mail comes."""
    pair.gateway.start()
    pair.client.start()
    arrived(pair, count)
    assert offer(pair, mail(100, LARGE)) == 250
    complete(pair, count + 1)


def state(node: Node, name: str) -> Path:
    """A file in its state folder, by pattern."""
    found = sorted((node.folder / "state").glob(name))
    assert found, name
    return found[0]


@fault("journal-page-damaged", "journal-header-damaged")
@pytest.mark.parametrize("of", few("gateway", "client"))
@pytest.mark.parametrize("first", few(4096, 0))
def test_a_damaged_database_is_refused_with_the_remedy_and_left_as_it_is(pair: Pair, of: str, first: int) -> None:
    node = getattr(pair, of)
    database = state(node, "journal/journal.db")
    with harm(database, lambda file: flipped(file, first)):
        found = database.read_bytes()
        started(node).refused("journal's database is damaged", "restore it from a backup")
        assert database.read_bytes() == found
    both_run(pair)


@fault("journal-gone")
@pytest.mark.parametrize("of", few("gateway", "client"))
def test_a_database_that_is_gone_is_not_made_anew(pair: Pair, of: str) -> None:
    node = getattr(pair, of)
    with harm(state(node, "journal/journal.db"), Path.unlink):
        for _ in range(2):
            started(node).refused("not there any more", "restore it from a backup", "move its folder away")
    both_run(pair)


@fault("wal-damaged", "wal-gone")
@pytest.mark.parametrize("do", few(lambda file: flipped(file, 32 + 24, 4096), Path.unlink))
def test_a_gateway_without_its_last_commits_still_knows_its_store_and_gets_them_back(
    pair: Pair, do: Callable[[Path], None]
) -> None:
    """The client has what the gateway lost; the same mail is not shown twice."""
    pair.gateway.start()
    pair.client.start()
    assert offer(pair, mail(50)) == 250
    complete(pair, 4)
    pair.gateway.kill()
    do(state(pair.gateway, "journal/journal.db-wal"))
    pair.gateway.start()
    assert offer(pair, mail(51, LARGE)) == 250
    complete(pair, 5)
    wait_for("the entries that it had lost", lambda: same_heads(pair))


def same_heads(pair: Pair) -> bool:
    counts = {node.ask("status")["stores"][0]["entries"] for node in (pair.gateway, pair.client)}
    return len(counts) == 1


@fault("blob-gone", "blob-damaged")
@pytest.mark.parametrize("do", few(flipped, Path.unlink))
def test_a_body_that_is_damaged_or_gone_on_the_gateway_harms_no_other(pair: Pair, do: Callable[[Path], None]) -> None:
    do(state(pair.gateway, "journal/blobs/" + "?" * 64))
    both_run(pair)
    quiet(pair.gateway.log.read_text())


@fault("index-damaged")
@pytest.mark.parametrize("name", few("keyset-*.db", "index.db", "index.key", "keyset-*.key"))
def test_a_damaged_index_is_made_anew_from_the_log(pair: Pair, name: str) -> None:
    flipped(state(pair.client, f"mailbox/*/{name}"))
    both_run(pair)


@fault("index-gone")
def test_an_index_that_is_gone_is_made_anew_from_the_log(pair: Pair) -> None:
    shutil.rmtree(pair.client.folder / "state" / "mailbox")
    both_run(pair)


@fault("index-file-gone")
@pytest.mark.parametrize("name", few("keyset-*.db", "index.db", "index.key", "keyset-*.key"))
def test_a_file_of_the_index_that_is_gone_is_made_anew_from_the_log(pair: Pair, name: str) -> None:
    state(pair.client, f"mailbox/*/{name}").unlink()
    both_run(pair)


@fault("keyring-damaged", "keyring-gone")
@pytest.mark.parametrize("do", few(lambda file: flipped(file, 0, 400), Path.unlink))
def test_a_client_without_its_private_keys_says_so_and_loses_nothing(pair: Pair, do: Callable[[Path], None]) -> None:
    with harm(state(pair.client, "keys/*.age"), do):
        began = started(pair.client)
        quiet(began.said)
        if not began.ready:
            began.refused()
            assert "keys" in began.said
    both_run(pair)


@fault("node-key-damaged", "node-key-gone")
@pytest.mark.parametrize("of", few("gateway", "client"))
@pytest.mark.parametrize("do", few(flipped, Path.unlink))
def test_a_node_without_its_key_is_refused_with_the_remedy(pair: Pair, of: str, do: Callable[[Path], None]) -> None:
    node = getattr(pair, of)
    with harm(state(node, "node.key"), do):
        started(node).refused("node.key", "restore")
    both_run(pair)


@fault("config-damaged", "config-gone")
@pytest.mark.parametrize("do", few(flipped, Path.unlink))
def test_a_node_without_a_readable_config_is_refused_by_file(pair: Pair, do: Callable[[Path], None]) -> None:
    with harm(pair.gateway.config, do):
        started(pair.gateway).refused("mesyx.toml")
    both_run(pair)


@fault("certificate-damaged")
def test_a_damaged_self_made_certificate_is_named_or_made_anew(pair: Pair) -> None:
    file = state(pair.gateway, "tls/self-signed.pem")
    with harm(file, flipped):
        began = started(pair.gateway)
        quiet(began.said)
        if not began.ready:
            began.refused(file.name)
    both_run(pair)


@fault("state-file-gone")
@pytest.mark.parametrize("of", few("gateway", "client"))
def test_no_missing_file_of_the_state_folder_ends_in_a_traceback(pair: Pair, of: str) -> None:
    node: Node = getattr(pair, of)
    files = sorted(path for path in (node.folder / "state").rglob("*") if path.is_file())
    assert len(files) > 5
    for file in files if FULL else files[:: 3 if of == "gateway" else 5]:
        with harm(file, Path.unlink):
            began = started(node)
            quiet(began.said)
            if not began.ready:
                began.refused()
    both_run(pair)


@fault("state-open-to-others")
def test_a_state_folder_that_others_may_read_is_named_by_doctor(pair: Pair) -> None:
    (pair.gateway.folder / "state").chmod(0o755)
    pair.gateway.start()
    said = pair.gateway.cli("doctor", check=False)
    assert said.returncode == 1
    assert "chmod 700" in said.stdout
    assert exists is not None
