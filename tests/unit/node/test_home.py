"""A node's folder: whose it is, and that nobody else's key is taken for it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mesyx_core.api import Busy, Misconfigured, Refused
from mesyx_core.config import load, write_initial
from mesyx_core.node.home import Home, create
from mesyx_core.node.keyring import Keyring
from mesyx_core.node.secrets import Secrets, passphrase
from mesyx_core.vault import age

KEY = "mesyx-node-key-1:" + "ab" * 32


def home(folder: Path, text: str = KEY, mode: int = 0o600) -> Home:
    made = Home(load(write_initial(folder, "a", ["client"])))
    made.state.mkdir(mode=0o700)
    key = made.state / "node.key"
    key.write_text(text + "\n")
    key.chmod(mode)
    return made


def test_the_key_is_read(tmp_path: Path) -> None:
    assert len(home(tmp_path).key().public) == 32


@pytest.mark.parametrize(
    "text", ["", "ab" * 32, "mesyx-node-key-1:zz", "mesyx-node-key-1:" + "ab" * 31, "mesyx-node-key-2:" + "ab" * 32]
)
def test_a_damaged_key_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(Misconfigured, match=r"node\.key"):
        home(tmp_path, text).key()


def test_a_key_that_others_can_read_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="chmod 600"):
        home(tmp_path, mode=0o640).key()


def test_a_missing_key_is_refused(tmp_path: Path) -> None:
    made = home(tmp_path)
    os.unlink(made.state / "node.key")
    with pytest.raises(Misconfigured, match="mesyx init"):
        made.key()


def test_two_processes_do_not_share_a_state(tmp_path: Path) -> None:
    made = home(tmp_path)
    with made.lock(), pytest.raises(Busy), made.lock():
        pass
    with made.lock():
        pass


def test_secrets_open_with_their_passphrase_alone_and_are_not_in_clear(tmp_path: Path) -> None:
    ring = Keyring(tmp_path / "keys", work=8)
    secrets = Secrets(b"o" * 32, (age.generate().text, age.generate(hybrid=False).text))
    ring.save(b"s" * 32, secrets, "right")
    assert ring.open(b"s" * 32, "right") == secrets
    with pytest.raises(Refused, match="wrong passphrase"):
        ring.open(b"s" * 32, "wrong")
    data = b"".join(path.read_bytes() for path in (tmp_path / "keys").rglob("*") if path.is_file())
    assert b"AGE-SECRET-KEY-" not in data
    assert b"o" * 32 not in data


def test_damaged_secrets_are_told_from_a_wrong_passphrase(tmp_path: Path) -> None:
    ring = Keyring(tmp_path / "keys", work=8)
    ring.save(b"s" * 32, Secrets(None, ()), "right")
    [file] = (tmp_path / "keys").glob("*.age")
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(Refused, match="damaged"):
        ring.open(b"s" * 32, "right")


def test_a_passphrase_is_the_first_line(tmp_path: Path) -> None:
    file = tmp_path / "p"
    file.write_text("correct horse\nrest\n")
    assert passphrase(file) == "correct horse"
    file.write_text("\nrest\n")
    with pytest.raises(Misconfigured):
        passphrase(file)


def test_a_key_that_was_cut_off_in_its_making_is_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def died(*_: object) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(os, "link", died)
        with pytest.raises(OSError, match="no space"):
            create(tmp_path / "node", "a", ["client"])
    assert not (tmp_path / "node/state/node.key").exists()
    assert not (tmp_path / "node/mesyx.toml").exists()  # or the same command would be refused
    file, there = create(tmp_path / "node", "a", ["client"])
    first = Home(load(file)).key().public
    assert not there
    file.unlink()
    assert create(tmp_path / "node", "a", ["client"])[1]
    assert Home(load(file)).key().public == first
    assert [path.name for path in (tmp_path / "node/state").iterdir()] == ["node.key"]
