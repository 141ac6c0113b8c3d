"""A node that is meant to be unable to read does not start where it could."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from mesyx_core import config
from mesyx_core.api import Misconfigured
from mesyx_core.cli import exits
from mesyx_core.node import home, reach
from mesyx_core.node.core import Node
from mesyx_core.node.keyring import Keyring
from mesyx_core.node.kit import Kit, recovery_kit
from mesyx_core.node.secrets import Secrets
from mesyx_core.vault import age
from mesyx_core.vault.authority import Authority
from mesyx_core.vault.keyset import Keyset
from mesyx_core.vault.manifest import Manifest, next_commitment, owner_public, sign
from tests.unit.node.killed import command

OWNER, NEXT = b"o" * 32, b"n" * 32
SHORT, LONG, OWN = (age.generate() for _ in range(3))
DOCUMENT = sign(
    Manifest(
        owner=owner_public(OWNER),
        next_owner=next_commitment(owner_public(NEXT)),
        members=(),
        keysets=(Keyset((SHORT.recipient, LONG.recipient), start=0, end=90), Keyset((LONG.recipient,), fallback=True)),
        clients=(OWN.recipient,),
    ),
    OWNER,
)
STORE = Authority.of([DOCUMENT]).store
KEY = f"# created by age-keygen\n{LONG.text}\n"


class Server:
    """A node that holds a store, and a config whose one filter is told files by name."""

    def __init__(self, folder: Path, *roles: str) -> None:
        self.folder = folder / "mx1"
        self.outside = folder / "elsewhere"
        self.outside.mkdir()
        self.file, _ = home.create(self.folder, "mx1", roles)
        anyio.run(self._hold)

    async def _hold(self) -> None:
        async with Node.opened(config.load(self.file)) as node:
            await node.stores.add("alice", [DOCUMENT])

    def refused(self, *named: Path) -> str:
        """Why it does not start; empty when it does."""

        async def main() -> str:
            async with Node.opened(config.load(self.file), plugins=False) as node:
                try:
                    reach.refuse(node, named)
                except Misconfigured as error:
                    return error.what
                return ""

        return anyio.run(main)


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path, "accept", "exchange")


def test_a_server_without_keys_starts(server: Server) -> None:
    (server.folder / "notes").write_text(f"{age.generate().text}\n{'ab' * 32}\n")  # another store's, or none's
    (server.outside / "key").write_text(KEY)  # nothing leads there
    assert server.refused() == ""


def in_the_keyring(server: Server) -> None:
    Keyring(server.folder / "state/keys", 4).save(STORE, Secrets(None, (SHORT.text,)), "phrase")


def arrived(server: Server) -> None:
    ring = Keyring(server.folder / "state/keys", 4)
    ring.invite(b"i" * 16, "phrase")
    ring.arrive(STORE, b"i" * 16, b"sealed")


def key_files_alone(server: Server) -> None:
    in_the_keyring(server)
    (server.folder / f"state/keys/{STORE.hex()}.age").unlink()


def beside_the_config(server: Server) -> None:
    (server.folder / "key.txt").write_text(KEY)


def in_the_config(server: Server) -> None:
    with server.file.open("a") as file:
        file.write(f'\n[filter.rules]\nscript = "{OWN.text}"\n')


def in_the_state_folder(server: Server) -> None:
    (server.folder / "state/backup").write_text(f"x\n{SHORT.text}")


def named_in_the_config(server: Server) -> None:
    (server.outside / "key").write_text(KEY)
    with server.file.open("a") as file:
        file.write('\n[filter.rules]\nlists = ["../elsewhere/key"]\n')


def deep_in_the_config(server: Server) -> None:
    (server.outside / "key").write_text(KEY)
    with server.file.open("a") as file:
        file.write(f'\n[access.imap.tls]\nkey = "{server.outside / "key"}"\n')


def an_owner_key(server: Server) -> None:
    (server.folder / "owner").write_text(f"# owner-key: {OWNER.hex()}\n")


def the_next_owner_key(server: Server) -> None:
    (server.folder / "owner").write_text(NEXT.hex().upper())


def an_opened_kit(server: Server) -> None:
    kit = recovery_kit(Kit("alice", bytes(32), OWNER, NEXT, (LONG.text, OWN.text)), "phrase").encode()
    (server.folder / "kit").write_bytes(age.decrypt_passphrase(kit, "phrase"))


WAYS = (
    in_the_keyring,
    arrived,
    key_files_alone,
    beside_the_config,
    in_the_config,
    in_the_state_folder,
    named_in_the_config,
    deep_in_the_config,
    an_owner_key,
    the_next_owner_key,
    an_opened_kit,
)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_server_with_a_private_key_in_reach_is_refused(server: Server, way: Callable[[Server], Any]) -> None:
    way(server)
    assert "a private key of alice lies in reach" in server.refused()


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("role", ["client", "reencrypt"])
def test_who_may_have_keys_is_not(tmp_path: Path, way: Callable[[Server], Any], role: str) -> None:
    server = Server(tmp_path, role, "exchange")
    way(server)
    assert server.refused() == ""


def test_a_key_that_the_command_line_names_is_in_reach(server: Server) -> None:
    (server.outside / "owner").write_text(OWNER.hex())
    assert "elsewhere/owner" in server.refused(server.outside / "owner")


def test_keys_of_stores_that_it_does_not_hold_are_its_operators_own_business(server: Server) -> None:
    Keyring(server.folder / "state/keys", 4).save(b"t" * 32, Secrets(None, (LONG.text,)), "phrase")
    assert server.refused() == ""


def test_what_cannot_be_read_and_what_is_huge_stops_nothing(server: Server) -> None:
    (server.folder / "pipe").symlink_to("/nowhere")
    (server.folder / "huge").write_bytes(KEY.encode() + bytes(reach.LARGEST))
    (server.folder / "many").write_bytes(b"AGE-SECRET-KEY-1QQQQQQQQQQQQQQQQQQQQQQQQ\n" * 10_000)
    assert server.refused() == ""


def test_mesyx_run_says_so_and_doctor_too(server: Server) -> None:
    beside_the_config(server)
    ran = command(["run", "-c", str(server.file)], server.folder.parent / "out")
    assert ran.code == exits.CONFIG
    assert "lies in reach" in ran.error
    assert "roles" in ran.error
    assert "key.txt" in command(["doctor", "-c", str(server.file)], server.folder.parent / "out2").out
