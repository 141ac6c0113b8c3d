"""Private keys on a client's disk: what is held is known without a passphrase, and what is destroyed is gone."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

import pytest

from mesyx_core.api import Refused
from mesyx_core.node import durable
from mesyx_core.node.keyring import Keyring
from mesyx_core.node.secrets import Secrets
from mesyx_core.vault import age
from mesyx_core.vault.encoding import encode
from mesyx_core.vault.keyset import key_id
from tests.unit.node.crash import Crash, crashing

STORE = b"s" * 32
OWNER = b"o" * 32
KEYS = [age.generate() for _ in range(3)]
A, B, C = KEYS
CLASSIC = age.generate(hybrid=False)
WORK = 4


def ids(*keys: age.Identity) -> set[bytes]:
    return {key_id(key.recipient) for key in keys}


def left_over(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.suffix in (".new", ".old", ".gone", ".damaged")]


@pytest.fixture
def ring(tmp_path: Path) -> Keyring:
    made = Keyring(tmp_path / "keys", WORK)
    made.save(STORE, Secrets(OWNER, (A.text, B.text)), "right")
    return made


def file(ring: Keyring, key: age.Identity) -> Path:
    return ring.folder / f"{STORE.hex()}.keys" / f"{key_id(key.recipient).hex()}.age"


def test_what_is_held_is_known_without_the_passphrase(ring: Keyring) -> None:
    assert ring.held(STORE) == ids(A, B)
    assert ring.held(b"t" * 32) == frozenset()


def test_keys_are_added_without_the_passphrase_and_open_with_it_alone(ring: Keyring) -> None:
    assert Keyring(ring.folder).add(STORE, [C.text, CLASSIC.text, A.text]) == ids(C, CLASSIC)
    assert ring.add(STORE, [C.text]) == frozenset()
    assert ring.open(STORE, "right") == Secrets(OWNER, (A.text, B.text, C.text, CLASSIC.text))
    data = b"".join(path.read_bytes() for path in ring.folder.rglob("*") if path.is_file())
    for key in (A, B, C, CLASSIC):
        assert key.text.encode() not in data


def test_what_is_no_key_is_refused_and_adds_nothing(ring: Keyring) -> None:
    with pytest.raises(Refused, match="no private key"):
        ring.add(STORE, [C.text, "AGE-SECRET-KEY-1"])
    assert ring.held(STORE) == ids(A, B)


def test_no_key_is_added_where_nothing_could_open_it(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="unlock it once"):
        Keyring(tmp_path / "keys").add(STORE, [A.text])


def test_the_key_files_are_stock_age_files(ring: Keyring) -> None:
    identity = age.generate()
    (ring.folder / f"{STORE.hex()}.keys" / "recipient").write_text(identity.recipient)
    ring.add(STORE, [C.text])
    assert age.decrypt(file(ring, C).read_bytes(), [identity]).decode() == f"{C.text}\n"


def test_saving_again_keeps_the_keys_that_are_there_and_takes_the_other_owner_key(ring: Keyring) -> None:
    ring.save(STORE, Secrets(None, (C.text,)), "right")
    assert ring.open(STORE, "right") == Secrets(None, (A.text, B.text, C.text))
    with pytest.raises(Refused, match="wrong passphrase"):
        ring.save(STORE, Secrets(OWNER, ()), "wrong")


def test_a_damaged_key_closes_no_other_and_can_be_laid_there_again(
    ring: Keyring, caplog: pytest.LogCaptureFixture
) -> None:
    file(ring, A).write_bytes(file(ring, A).read_bytes()[:-1])
    assert ring.open(STORE, "right") == Secrets(OWNER, (B.text,))
    assert ring.held(STORE) == ids(B)
    assert ring.damaged(STORE) == ids(A)
    assert "set aside" in caplog.text
    ring.add(STORE, [A.text])
    assert ring.damaged(STORE) == frozenset()
    assert ring.open(STORE, "right") == Secrets(OWNER, (A.text, B.text))


def test_a_key_file_under_the_name_of_another_is_not_taken_for_it(ring: Keyring) -> None:
    shutil.copy(file(ring, A), file(ring, C))
    assert ring.open(STORE, "right") == Secrets(OWNER, (A.text, B.text))
    assert ring.held(STORE) == ids(A, B)


def test_a_destroyed_key_is_overwritten_where_it_was(ring: Keyring, tmp_path: Path) -> None:
    before = file(ring, A).read_bytes()
    os.link(file(ring, A), tmp_path / "the blocks")
    assert ring.destroy(STORE, [A.recipient, C.recipient]) == ids(A)
    assert ring.held(STORE) == ids(B)
    assert ring.open(STORE, "right") == Secrets(OWNER, (B.text,))
    after = (tmp_path / "the blocks").read_bytes()
    assert len(after) == len(before)
    assert not [at for at in range(0, len(before), 16) if before[at : at + 16] == after[at : at + 16]]
    assert not left_over(ring.folder)


def test_a_damaged_key_is_destroyed_too(ring: Keyring) -> None:
    file(ring, A).write_bytes(b"x" * 100)
    ring.open(STORE, "right")
    assert ring.destroy(STORE, [A.recipient]) == ids(A)
    assert not left_over(ring.folder)


def test_a_crash_while_keys_are_destroyed_leaves_all_or_none_after_the_next_start(
    ring: Keyring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    number, done = 0, False
    while not done:
        number += 1
        assert number < 100
        crashed = Keyring(tmp_path / str(number), WORK)
        shutil.copytree(ring.folder, crashed.folder)
        with monkeypatch.context() as patch:
            crashing(patch, number)
            with contextlib.suppress(Crash):
                done = crashed.destroy(STORE, [A.recipient, B.recipient]) == ids(A, B)
        after = Keyring(crashed.folder, WORK)
        after.finish()
        assert not left_over(after.folder)
        assert after.held(STORE) in ([set()] if done else [ids(A, B), ids(A), ids(B), set()])
        assert {key_id(age.parse_identity(text).recipient) for text in after.open(STORE, "right").identities} == (
            after.held(STORE)
        )
    assert number > 6


def test_a_crash_while_a_key_is_added_leaves_it_whole_or_not_there(
    ring: Keyring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    number, done = 0, False
    while not done:
        number += 1
        assert number < 100
        crashed = Keyring(tmp_path / str(number), WORK)
        shutil.copytree(ring.folder, crashed.folder)
        with monkeypatch.context() as patch:
            crashing(patch, number)
            with contextlib.suppress(Crash):
                done = crashed.add(STORE, [C.text]) == ids(C)
        after = Keyring(crashed.folder, WORK)
        after.finish()
        assert not left_over(after.folder)
        assert after.held(STORE) in ([ids(A, B, C)] if done else [ids(A, B), ids(A, B, C)])
        assert len(after.open(STORE, "right").identities) == len(after.held(STORE))
    assert number > 2


# --- what earlier releases wrote --------------------------------------------------------------------------------------


def first_layout(folder: Path) -> Keyring:
    """The passphrase over the keys themselves."""
    folder.mkdir(mode=0o700)
    value = encode([1, OWNER, [A.text, B.text]])
    durable.write_durably(folder / f"{STORE.hex()}.age", age.encrypt_passphrase(value, "right", work=WORK))
    return Keyring(folder, WORK)


def test_the_first_layout_is_taken_over_when_it_is_unlocked(tmp_path: Path) -> None:
    ring = first_layout(tmp_path / "keys")
    os.link(ring.folder / f"{STORE.hex()}.age", tmp_path / "the blocks")
    before = (tmp_path / "the blocks").read_bytes()
    assert ring.has(STORE)
    assert ring.held(STORE) == frozenset()
    with pytest.raises(Refused, match="unlock it once"):
        ring.add(STORE, [C.text])
    assert ring.open(STORE, "right") == Secrets(OWNER, (A.text, B.text))
    assert ring.held(STORE) == ids(A, B)
    ring.add(STORE, [C.text])
    assert ring.open(STORE, "right") == Secrets(OWNER, (A.text, B.text, C.text))
    assert (tmp_path / "the blocks").read_bytes()[:64] != before[:64]  # or keys that are destroyed would still be there


def test_a_crash_while_the_first_layout_is_taken_over_loses_no_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = first_layout(tmp_path / "keys")
    wanted = Secrets(OWNER, (A.text, B.text))
    number, done = 0, False
    while not done:
        number += 1
        assert number < 100
        crashed = Keyring(tmp_path / str(number), WORK)
        shutil.copytree(first.folder, crashed.folder)
        with monkeypatch.context() as patch:
            crashing(patch, number)
            with contextlib.suppress(Crash):
                done = crashed.open(STORE, "right") == wanted
        after = Keyring(crashed.folder, WORK)
        assert after.open(STORE, "right") == wanted
        assert after.held(STORE) == ids(A, B)
        assert not left_over(after.folder)
        after.add(STORE, [C.text])
        assert after.open(STORE, "right") == Secrets(OWNER, (A.text, B.text, C.text))
    assert number > 12


def test_a_full_disk_keeps_no_store_from_being_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    ring = first_layout(tmp_path / "keys")
    with monkeypatch.context() as patch:
        patch.setattr(durable, "write_durably", full)
        assert ring.open(STORE, "right") == Secrets(OWNER, (A.text, B.text))
    assert ring.open(STORE, "right") == Secrets(OWNER, (A.text, B.text))
    assert ring.held(STORE) == ids(A, B)
