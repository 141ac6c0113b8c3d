"""`mesyx backup` of running nodes, and `mesyx restore` of each after its loss: by the commands a person would type."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mesyx_core.vault import age
from tests.faults.trial import LARGE, SMALL, arrived, complete, mail, offer
from tests.scenario.cluster import MESYX, PASSPHRASE, Node, Pair, cluster, run

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(300)]


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with cluster(tmp_path / "nodes") as made:
        yield made


def take(pair: Pair, numbers: range) -> None:
    for number in numbers:
        assert offer(pair, mail(number, LARGE if number % 3 == 0 else SMALL)) == 250


def lose(node: Node) -> None:
    """The machine burns."""
    node.kill()
    shutil.rmtree(node.folder)


def files(folder: Path) -> dict[str, bytes]:
    return {str(each.relative_to(folder)): each.read_bytes() for each in folder.rglob("*") if each.is_file()}


def test_a_lost_gateway_is_restored_and_nothing_that_it_acknowledged_is_lost(pair: Pair, tmp_path: Path) -> None:
    backup, key = tmp_path / "backup", age.generate()
    identity = tmp_path / "backup.key"
    identity.write_text(f"# for the backups\n{key.text}\n")
    take(pair, range(10))
    pair.gateway.cli("backup", backup, "--recipient", key.recipient)
    take(pair, range(10, 15))
    again = pair.gateway.json("backup", backup, "--recipient", key.recipient)
    assert again["bodies"] == 5
    take(pair, range(15, 20))
    arrived(pair, 20)

    secret = (pair.gateway.folder / "state" / "node.key").read_bytes().strip()
    kept = files(backup)
    assert not any(secret in data for data in kept.values())
    assert "days" not in {Path(name).name for name in kept}
    lose(pair.gateway)
    done = json.loads(run("restore", backup, pair.gateway.folder, "--identity", identity, "--json").stdout)
    assert done["config"] == str(pair.gateway.config)
    assert files(backup) == kept

    pair.gateway.start()
    take(pair, range(20, 25))
    complete(pair, 25)


def test_a_client_restored_from_its_backup_shows_all_that_was_there(pair: Pair, tmp_path: Path) -> None:
    backup, passphrase = tmp_path / "backup", tmp_path / "backup.passphrase"
    passphrase.write_text("another passphrase\n")
    take(pair, range(6))
    arrived(pair, 6)
    pair.client.cli("backup", backup, "--passphrase-file", passphrase)
    assert not any(PASSPHRASE.encode() in data for data in files(backup).values())
    lose(pair.client)
    take(pair, range(6, 9))
    wrong = tmp_path / "wrong"
    wrong.write_text("a wrong one\n")
    refused = run("restore", backup, pair.client.folder, "--passphrase-file", wrong, check=False)
    assert refused.returncode == 1
    assert "does not open the backup" in refused.stderr
    assert not pair.client.folder.exists()
    run("restore", backup, pair.client.folder, "--passphrase-file", passphrase)
    pair.client.start()
    complete(pair, 9)


def test_a_backup_that_is_killed_leaves_the_former_one_whole(pair: Pair, tmp_path: Path) -> None:
    backup, passphrase = tmp_path / "backup", tmp_path / "backup.passphrase"
    passphrase.write_text("another passphrase\n")
    words = ["backup", str(backup), "--passphrase-file", str(passphrase), "-c", str(pair.gateway.config)]
    take(pair, range(6))
    pair.gateway.cli("backup", backup, "--passphrase-file", passphrase)
    for round in range(2):
        take(pair, range(6 + 3 * round, 9 + 3 * round))
        process = subprocess.Popen([*MESYX, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(0.5 + 0.6 * round)
        except subprocess.TimeoutExpired:
            pair.gateway.kill()  # it does the work
        process.wait(30)
        copy = tmp_path / f"copy{round}"
        run("restore", backup, copy, "--passphrase-file", passphrase)
        assert (copy / "state" / "journal" / "journal.db").stat().st_size > 0
        if pair.gateway.process is not None and pair.gateway.process.poll() is not None:
            pair.gateway.start()
    arrived(pair, 12)
    lose(pair.gateway)
    shutil.move(tmp_path / "copy1", pair.gateway.folder)
    pair.gateway.start()
    take(pair, range(12, 14))
    complete(pair, 14)
