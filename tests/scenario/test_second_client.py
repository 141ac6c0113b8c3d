"""A second laptop reads the same store: the same mail, the same flags, and its private keys never in clear."""

from __future__ import annotations

import base64
import imaplib
import smtplib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mesyx_core.node.keyring import Keyring
from mesyx_core.node.secrets import Secrets
from mesyx_core.vault import age
from mesyx_core.vault.age import bech32
from mesyx_core.vault.keyset import key_id
from tests.scenario.cluster import PASSPHRASE, Node, Pair, client, cluster, free_port, wait_for
from tests.scenario.leaks import files, private_keys

pytestmark = pytest.mark.scenario
OTHER = "another passphrase, on another disk"


def second(folder: Path, port: int) -> Node:
    """A laptop that another one can dial while it joins, under a passphrase of its own."""
    node = client(folder, f'listen = "127.0.0.1:{port}"\naddress = "https://127.0.0.1:{port}"\n')
    assert node.passphrase is not None
    node.passphrase.write_text(OTHER + "\n")
    return node


def invitation(node: Node) -> str:
    assert node.passphrase is not None
    words = ("node", "invite", "--role", "client", "--role", "exchange", "--passphrase-file", node.passphrase)
    return node.cli(*words).stdout.splitlines()[-1]


def send(pair: Pair, subject: str) -> None:
    with smtplib.SMTP("127.0.0.1", pair.smtp) as smtp:
        text = f"From: bob@example.com\r\nTo: {pair.address}\r\nSubject: {subject}\r\n\r\nHello twice.\r\n"
        smtp.sendmail("bob@example.com", [pair.address], text.encode())


@contextmanager
def inbox(node: Node, password: str) -> Iterator[imaplib.IMAP4]:
    connection = imaplib.IMAP4("127.0.0.1", node.ports["imap"])
    connection.login("alice", password)
    connection.select("INBOX")
    yield connection
    connection.logout()


def subjects(node: Node, password: str) -> list[str]:
    with inbox(node, password) as connection:
        found = connection.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1]
        return sorted(part[1].decode().strip().partition(": ")[2] for part in found if isinstance(part, tuple))


def flags(node: Node, password: str, subject: str) -> str:
    with inbox(node, password) as connection:
        (number,) = connection.search(None, "SUBJECT", subject)[1][0].split()
        return str(connection.fetch(number.decode(), "(FLAGS)")[1][0])


def password(node: Node) -> str:
    return node.cli("login", "add", "alice", "--label", "tests").stdout.splitlines()[-1].split()[-1]


def texts(name: str, secret: bytes) -> dict[str, bytes]:
    """A secret as it may be written down."""
    return {
        f"{name}": secret,
        f"{name} in hex": secret.hex().encode(),
        f"{name} in base64": base64.b64encode(secret)[:40],
        f"{name} in HEX": secret.hex().upper().encode(),
    }


def forms(identities: tuple[str, ...]) -> dict[str, bytes]:
    found: dict[str, bytes] = {"an identity": b"AGE-SECRET-KEY-"}
    for number, text in enumerate(identities):
        found |= {f"identity {number}": text.encode(), **texts(f"seed {number}", bech32.decode(text)[1])}
    return found


def held(node: Node, phrase: str) -> Secrets:
    folder = node.folder / "state" / "keys"
    (file,) = folder.glob("*.age")
    return Keyring(folder).open(bytes.fromhex(file.stem), phrase)


def in_clear(node: Node, keys: dict[str, bytes]) -> set[str]:
    return {f"{what} in {name}" for name, data in files(node) for what, key in keys.items() if key in data}


@pytest.mark.parametrize("runs", [True, False], ids=["with its passphrase", "locked"])
def test_both_laptops_read_the_mail_and_see_each_others_flags(tmp_path: Path, runs: bool) -> None:
    with cluster(tmp_path) as pair:
        send(pair, "before")
        laptop2 = second(tmp_path / "laptop2", free_port())
        phrase_file, laptop2.passphrase = laptop2.passphrase, laptop2.passphrase if runs else None
        try:
            laptop2.start()
            assert phrase_file is not None
            words = ("--role", "client", "--role", "exchange", "--passphrase-file", phrase_file)
            line = laptop2.cli("node", "invite", *words).stdout.splitlines()[-1]
            told = pair.client.json("store", "add-node", "alice", line)
            assert told["keys"] == "short"
            assert told["roles"] == ["client", "exchange"]
            assert pair.client.json("store", "add-node", "alice", line)["node"] == told["node"]
            if not runs:
                assert [row["state"] for row in laptop2.json("store", "list")] == ["locked"]
                _only_in_one_file(pair, laptop2)
                everything = {**private_keys(pair), **forms(held(pair.client, PASSPHRASE).identities)}
                assert not in_clear(laptop2, everything)
                laptop2.cli("store", "unlock", "alice", "--passphrase-file", phrase_file)
            wait_for("an open store", lambda: laptop2.json("store", "list")[0]["state"] == "open")
            second_password = password(laptop2)
            send(pair, "after")
            both = ["after", "before"]
            wait_for("both mails at the first", lambda: subjects(pair.client, pair.password) == both)
            wait_for("both mails at the second", lambda: subjects(laptop2, second_password) == both)
            with inbox(pair.client, pair.password) as connection:
                connection.store("1", "+FLAGS", "(\\Flagged)")
            subject = next(s for s in both if "Flagged" in flags(pair.client, pair.password, s))
            wait_for("the flag at the second", lambda: "Flagged" in flags(laptop2, second_password, subject))
            with inbox(laptop2, second_password) as connection:
                connection.store("2", "+FLAGS", "(\\Answered)")
            subject = next(s for s in both if "Answered" in flags(laptop2, second_password, s))
            wait_for("the flag at the first", lambda: "Answered" in flags(pair.client, pair.password, subject))

            # laptop1 goes away: laptop2 has a way of its own to the gateway.
            assert pair.client.stop() == 0
            send(pair, "alone")
            wait_for("the mail at the second alone", lambda: "alone" in subjects(laptop2, second_password))

            first, other = held(pair.client, PASSPHRASE), held(laptop2, OTHER)
            assert other.owner is None
            assert {path.suffix for path in (laptop2.folder / "state" / "keys").iterdir()} == {".age", ".keys"}
            [long] = set(first.identities) - set(other.identities)
            assert set(other.identities) < set(first.identities)
            [fallback] = [row for row in pair.client.json("keyset", "list", "alice") if row["name"] == "fallback"]
            assert [key["id"] for key in fallback["keys"]] == [key_id(age.parse_identity(long).recipient).hex()]
            everything = {**private_keys(pair), **forms(first.identities), "its passphrase": OTHER.encode()}
            assert not in_clear(laptop2, everything)
            assert not in_clear(pair.gateway, everything)
            assert laptop2.stop() == 0
        finally:
            laptop2.kill()


def test_short_keys_do_not_open_what_comes_after_their_keyset_and_all_keys_given_later_do(tmp_path: Path) -> None:
    with cluster(tmp_path) as pair:
        phone = second(tmp_path / "phone", free_port())
        try:
            phone.start()
            pair.client.cli("store", "add-node", "alice", invitation(phone), "--keys", "short")
            wait_for("an open store", lambda: phone.json("store", "list")[0]["state"] == "open")
            secret = password(phone)
            send(pair, "in time")
            wait_for("the mail at the phone", lambda: subjects(phone, secret) == ["in time"])
            assert pair.gateway.stop() == 0
            pair.gateway.turn("+120d")
            pair.gateway.start()
            send(pair, "after the keyset")
            both = ["after the keyset", "in time"]
            wait_for("both mails at the laptop", lambda: subjects(pair.client, pair.password) == both)
            wait_for("the entry at the phone", lambda: _locked(phone) == 1)
            assert subjects(phone, secret) == ["in time"]

            pair.client.cli("store", "add-node", "alice", invitation(phone), "--keys", "all")
            wait_for("both mails at the phone", lambda: subjects(phone, secret) == both)
            assert _locked(phone) == 0
            assert set(held(phone, OTHER).identities) == set(held(pair.client, PASSPHRASE).identities)
        finally:
            phone.kill()


def _only_in_one_file(pair: Pair, node: Node) -> None:
    """The keys that came are in no log, not even sealed."""
    (path,) = (node.folder / "state" / "keys").glob("*.arrived")
    sealed = path.read_bytes()
    pieces = {f"piece {at}": sealed[at : at + 48] for at in range(0, len(sealed) - 48, 480)}
    assert len(pieces) > 3
    assert not in_clear(pair.gateway, pieces)
    assert not in_clear(pair.client, pieces)
    assert in_clear(node, pieces) == {f"{piece} in {path}" for piece in pieces}


def _locked(node: Node) -> int:
    [store] = node.json("status")["stores"]
    return int(store["mailbox"]["locked"])


def test_the_long_term_keys_travel_when_they_are_asked_for_and_none_when_none_are(tmp_path: Path) -> None:
    with cluster(tmp_path) as pair:
        laptops: list[Node] = []
        try:
            for keys in ("all", "none"):
                laptop = second(tmp_path / keys, free_port())
                laptops.append(laptop)
                laptop.start()
                pair.client.cli("store", "add-node", "alice", invitation(laptop), "--keys", keys)
            every, none = laptops
            wait_for("an open store", lambda: every.json("store", "list")[0]["state"] == "open")
            assert set(held(every, OTHER).identities) == set(held(pair.client, PASSPHRASE).identities)
            assert [row["state"] for row in none.json("store", "list")] == ["sealed"]
            assert {path.suffix for path in (none.folder / "state" / "keys").iterdir()} == {".invitation"}
            roles: Any = {node["node"]: node["roles"] for node in pair.client.json("store", "show", "alice")["nodes"]}
            assert sorted(map(tuple, roles.values())) == [("accept", "exchange")] + 3 * [("client", "exchange")]
        finally:
            for laptop in laptops:
                laptop.kill()
