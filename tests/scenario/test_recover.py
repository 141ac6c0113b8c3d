"""`mesyx recover`, and the same without Mesyx: from copies of nodes, with the recovery kit's keys."""

from __future__ import annotations

import json
import mailbox
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mesyx_core.node.identities import read_identities
from mesyx_core.vault import age
from tests.faults.trial import LARGE, SMALL, arrived, mail, offer
from tests.scenario.cluster import PASSPHRASE, Pair, cluster, run, wait_for
from tests.scenario.listing import imap

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(240)]
ROOT = Path(__file__).resolve().parents[2]
MANY = 12


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Pair, dict[str, bytes]]]:
    """Two nodes with some mail, read, moved and deleted; and what their IMAP showed last, by mailbox and number."""
    with cluster(tmp_path_factory.mktemp("nodes")) as pair:
        for number in range(MANY):
            assert offer(pair, mail(number, LARGE if number % 4 == 0 else SMALL)) == 250
        arrived(pair, MANY)
        shown: dict[str, bytes] = {}
        with imap(pair) as client:
            client.create("Archive/2026")
            client.select("INBOX")
            client.store("1", "+FLAGS", "(\\Seen \\Flagged)")
            client.copy("2", "Archive/2026")
            client.store("2:3", "+FLAGS", "(\\Deleted)")
            client.expunge()
            for name in ("INBOX", "Archive/2026"):
                count = int(client.select(name)[1][0] or b"0")
                for number in range(1, count + 1):
                    part = client.fetch(str(number), "(BODY.PEEK[])")[1][0]
                    assert isinstance(part, tuple)
                    shown[f"{name} {number}"] = part[1]
        assert len(shown) == MANY - 1
        pair.client.stop()
        pair.gateway.stop()
        yield pair, shown


@pytest.fixture
def kit(stopped: tuple[Pair, dict[str, bytes]], tmp_path: Path) -> Path:
    text = stopped[0].kit
    begin, end = text.index("-----BEGIN"), text.index("-----END AGE ENCRYPTED FILE-----") + 32
    path = tmp_path / "kit.age"
    path.write_text(text[begin:end] + "\n")
    return path


def phrase(folder: Path) -> Path:
    path = folder / "phrase"
    path.write_text(PASSPHRASE + "\n")
    return path


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(p): (p.stat().st_size, p.stat().st_mtime_ns) for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("which", ["gateway", "client"])
def test_a_copy_of_any_node_and_the_kit_give_all_that_imap_showed(
    stopped: tuple[Pair, dict[str, bytes]], kit: Path, tmp_path: Path, which: str
) -> None:
    pair, shown = stopped
    node = pair.gateway if which == "gateway" else pair.client
    out, before = tmp_path / "out", tree(node.folder)
    words = ("recover", node.folder, out, "--identity", kit, "--passphrase-file", phrase(tmp_path), "--json")
    [report] = json.loads(run(*words).stdout)
    assert tree(node.folder) == before
    assert (report["locked"], report["incomplete"]) == (0, 0)
    if which == "gateway":  # it had taken all of it before the client's flags and moves; and it has those as well
        assert report["mailboxes"].keys() == {"INBOX", "Archive/2026"}
    found = [path.read_bytes() for path in out.rglob("cur/*")]
    assert sorted(found) == sorted(body.replace(b"\r\n", b"\n") for body in shown.values())
    [flagged] = [path for path in out.rglob("cur/*") if path.name.endswith(":2,FS")]
    assert flagged.parent == out / "INBOX" / "cur"
    assert not [path for path in out.iterdir() if path.name.startswith(".")]


def test_an_mbox_has_them_too(stopped: tuple[Pair, dict[str, bytes]], tmp_path: Path) -> None:
    pair, shown = stopped
    out = tmp_path / "out"
    run("recover", pair.client.folder / "state", out, "--passphrase-file", phrase(tmp_path), "--mbox")
    inbox = mailbox.mbox(out / "INBOX.mbox", create=False)
    assert len(inbox) == sum(name.startswith("INBOX") for name in shown)


def test_without_the_keys_nothing_is_recovered_and_the_missing_ones_are_named(
    stopped: tuple[Pair, dict[str, bytes]], tmp_path: Path
) -> None:
    pair, _ = stopped
    identity = tmp_path / "strange.key"
    identity.write_text(age.generate().text + "\n")
    words = ("recover", pair.gateway.folder, tmp_path / "out", "--identity", identity, "--json")
    done = run(*words, check=False)
    assert done.returncode == 1
    [report] = json.loads(done.stdout)
    assert report["mailboxes"] == {}
    assert report["locked"] >= MANY
    assert len(report["keysets without a key"]) == 1


def by_hand(journal: Path, identities: Path, out: Path, **environment: str) -> set[bytes]:
    """What the script of the docs writes."""
    script = ROOT / "docs" / "how-to" / "recover.py"
    words = [sys.executable, "-I", str(script), str(journal), str(identities), str(out)]
    subprocess.run(words, check=True, timeout=60, env={"PATH": os.environ["PATH"], **environment})
    return {path.read_bytes() for path in out.iterdir()}


@pytest.mark.parametrize("which", ["gateway", "client"])
def test_the_script_of_the_docs_gives_the_bodies_without_mesyx(
    stopped: tuple[Pair, dict[str, bytes]], kit: Path, tmp_path: Path, which: str
) -> None:
    pair, shown = stopped
    node = pair.gateway if which == "gateway" else pair.client
    copy, identities, out = tmp_path / "copy", tmp_path / "keys", tmp_path / "out"
    shutil.copytree(node.folder / "state" / "journal", copy)
    identities.write_text("".join(f"{each.text}\n" for each in read_identities(kit, PASSPHRASE)))
    found = by_hand(copy, identities, out)
    assert len(found) == MANY  # flags, moves and deletions are for those who read the ops
    assert found >= set(shown.values())


def test_stock_age_opens_what_is_sealed_to_a_classic_keyset_of_its_own_making(tmp_path: Path) -> None:
    identities, phrase_file = tmp_path / "classic.key", phrase(tmp_path)
    subprocess.run(["age-keygen", "-o", str(identities)], check=True, capture_output=True)
    recipient = subprocess.run(["age-keygen", "-y", str(identities)], check=True, capture_output=True, text=True).stdout
    with cluster(tmp_path / "nodes") as pair:
        today = datetime.now(UTC).date()
        period = f"{today - timedelta(days=1)}..{today + timedelta(days=30)} strict"
        words = ("--recipient", recipient.strip(), "--passphrase-file", phrase_file)
        pair.client.cli("keyset", "add", pair.user, period, *words)
        pair.client.cli("keyset", "import", pair.user, identities)
        sent = {mail(number, LARGE if number == 2 else SMALL) for number in range(4)}
        wait_for(
            "the gateway to have the keyset",
            lambda: len(pair.gateway.ask("store.show", name=gateway_name(pair))["keysets"]) == 3,
        )
        for message in sent:
            assert offer(pair, message) == 250
        arrived(pair, len(sent))
        pair.gateway.stop()
        copy = tmp_path / "copy"
        shutil.copytree(pair.gateway.folder / "state" / "journal", copy)
    shutil.copy(identities, copy / "classic.key")
    page = (ROOT / "docs" / "how-to" / "recover-mail.md").read_text()
    commands = page.partition("```bash\n")[2].partition("```")[0]
    said = subprocess.run(["bash", "-e", "-c", commands], cwd=copy, check=True, capture_output=True, text=True).stdout
    assert re.search(r"^( [0-9a-f]{2}){16}\n( [0-9a-f]{2}){16}$", said, re.MULTILINE), said
    found = by_hand(copy, identities, tmp_path / "out", AGE="age")
    assert len(found) == len(sent)
    assert all(any(body.endswith(message) for body in found) for message in sent)


def gateway_name(pair: Pair) -> str:
    """What the gateway calls the store."""
    [store] = pair.gateway.ask("store.list")
    return str(store["name"])
