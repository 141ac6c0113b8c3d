"""A second client gets the private keys that were chosen for it, sealed all the way, and never half of anything."""

from __future__ import annotations

import errno
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from mesyx_core.api import Refused, Temporary
from mesyx_core.exchange import frames
from mesyx_core.node import durable as files
from mesyx_core.node import handover
from mesyx_core.node.keyring import Keyring
from mesyx_core.node.secrets import Secrets
from mesyx_core.vault import age
from mesyx_core.vault.encoding import encode
from mesyx_core.vault.keyset import Keyset
from mesyx_core.vault.manifest import Manifest, next_commitment, owner_public
from tests.unit.node.crash import Crash, crashing

STORE = b"s" * 32
INVITATION = b"i" * 16
OWNER = b"o" * 32
SHORT, LONG, OWN = (age.generate() for _ in range(3))
SECRETS = Secrets(OWNER, (LONG.text, SHORT.text, OWN.text))
MANIFEST = Manifest(
    owner=owner_public(OWNER),
    next_owner=next_commitment(owner_public(b"n" * 32)),
    members=(),
    keysets=(
        Keyset((SHORT.recipient, LONG.recipient), start=0, end=90),
        Keyset((LONG.recipient,), fallback=True),
    ),
    clients=(OWN.recipient,),
)
CHOSEN = {"short": {SHORT.text, OWN.text}, "all": {SHORT.text, LONG.text, OWN.text}}


@pytest.fixture
def ring(tmp_path: Path) -> Keyring:
    return Keyring(tmp_path / "keys", work=4)


def brought(recipient: str, *identities: str) -> bytes:
    return handover.sealed(STORE, identities or (SHORT.text, OWN.text), recipient)


def names(ring: Keyring) -> set[str]:
    return {path.name.rpartition(".")[2] for path in ring.folder.iterdir()}


# --- which keys -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["short", "all"])
def test_the_long_term_keys_go_only_when_all_do(which: str) -> None:
    # The long-term identity opens the keyset that ends, too: it is still no short-term key.
    assert set(handover.chosen(SECRETS, MANIFEST, which)) == CHOSEN[which]


@pytest.mark.parametrize("which", ["short", "all"])
def test_the_owner_key_never_travels(ring: Keyring, which: str) -> None:
    identity = age.parse_identity(age.generate().text)
    file = handover.sealed(STORE, handover.chosen(SECRETS, MANIFEST, which), identity.recipient)
    inside = age.decrypt(file, [identity])
    assert OWNER not in inside
    assert OWNER.hex().encode() not in inside
    assert set(handover.opened(file, STORE, identity)) == CHOSEN[which]


def test_an_identity_that_the_manifest_does_not_know_stays_here() -> None:
    stray = Secrets(OWNER, (*SECRETS.identities, age.generate().text))
    assert set(handover.chosen(stray, MANIFEST, "all")) == CHOSEN["all"]


def test_who_has_no_long_term_keys_cannot_give_all() -> None:
    short = Secrets(None, (SHORT.text, OWN.text))
    assert set(handover.chosen(short, MANIFEST, "short")) == CHOSEN["short"]
    with pytest.raises(Refused, match="long-term"):
        handover.chosen(short, MANIFEST, "all")
    with pytest.raises(Refused, match="clients"):
        handover.chosen(Secrets(None, (SHORT.text, LONG.text)), MANIFEST, "short")


CLASSIC = age.generate(hybrid=False).recipient


@pytest.mark.parametrize("recipient", ["", "age1", CLASSIC, "x" * 4000], ids=["empty", "age1", "classic", "long"])
def test_keys_are_sealed_to_no_weak_or_broken_key(recipient: str) -> None:
    with pytest.raises(Refused):
        brought(recipient)


def test_what_is_sealed_fits_a_join() -> None:
    assert handover.LIMIT == frames.MAX_KEYS
    with pytest.raises(Refused, match="too many"):
        brought(age.generate().recipient, *["x" * 1000] * 200)


# --- on the second client ---------------------------------------------------------------------------------------------


def test_keys_that_came_are_opened_once_and_then_are_the_stores(ring: Keyring) -> None:
    file = brought(ring.invite(INVITATION, "right"))
    assert not ring.has(STORE)
    ring.arrive(STORE, INVITATION, file)
    assert ring.has(STORE)
    assert ring.waits(STORE)
    with pytest.raises(Refused, match="wrong passphrase"):
        ring.open(STORE, "wrong")
    assert names(ring) == {"invitation", "arrived"}
    got = ring.open(STORE, "right")
    assert got == Secrets(None, (SHORT.text, OWN.text))
    assert names(ring) == {"age", "keys"}
    assert Keyring(ring.folder).open(STORE, "right") == got


def test_nothing_of_it_is_in_clear_at_any_time(ring: Keyring, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bytes] = []
    real = files.write_durably

    def spy(path: Path, data: bytes) -> None:
        written.append(data)
        real(path, data)

    monkeypatch.setattr(files, "write_durably", spy)
    ring.arrive(STORE, INVITATION, brought(ring.invite(INVITATION, "right")))
    ring.open(STORE, "right")
    assert len(written) == 6  # two that come, two private keys, what opens them, and what they are sealed to
    for data in written[:-1]:
        assert b"AGE-SECRET-KEY" not in data
        assert b"age-encryption.org/v1" in data
    assert written[-1].startswith(b"age1pq1")


def test_a_join_that_is_repeated_changes_nothing(ring: Keyring) -> None:
    file = brought(ring.invite(INVITATION, "right"))
    ring.arrive(STORE, INVITATION, file)
    ring.arrive(STORE, INVITATION, file)
    got = ring.open(STORE, "right")
    ring.arrive(STORE, INVITATION, file)
    assert not ring.waits(STORE)
    assert ring.open(STORE, "right") == got


def test_keys_that_nothing_here_could_open_are_refused(ring: Keyring) -> None:
    with pytest.raises(Refused, match="invite it again"):
        ring.arrive(STORE, INVITATION, brought(age.generate().recipient))
    assert not ring.has(STORE)


def test_later_keys_join_those_that_are_there(ring: Keyring) -> None:
    ring.save(STORE, Secrets(OWNER, (SHORT.text, OWN.text)), "right")
    ring.arrive(STORE, INVITATION, brought(ring.invite(INVITATION, "right"), LONG.text, OWN.text))
    assert ring.open(STORE, "right") == Secrets(OWNER, (SHORT.text, OWN.text, LONG.text))
    assert names(ring) == {"age", "keys"}


def test_later_keys_under_another_passphrase_close_nothing(ring: Keyring, caplog: pytest.LogCaptureFixture) -> None:
    ring.save(STORE, Secrets(OWNER, (SHORT.text, OWN.text)), "right")
    ring.arrive(STORE, INVITATION, brought(ring.invite(INVITATION, "another"), LONG.text))
    assert ring.open(STORE, "right") == Secrets(OWNER, (SHORT.text, OWN.text))
    assert ring.waits(STORE)
    assert "stay closed" in caplog.text


def _hostile() -> dict[str, Callable[[str], bytes]]:
    def holding(value: object) -> Callable[[str], bytes]:
        return lambda recipient: age.encrypt(encode(value), [recipient])

    return {
        "no age file": lambda recipient: b"hello",
        "empty": lambda recipient: b"",
        "cut": lambda recipient: brought(recipient)[:-1],
        "to another key": lambda recipient: brought(age.generate().recipient),
        "of another store": lambda recipient: handover.sealed(b"t" * 32, (OWN.text,), recipient),
        "no list": holding([1, STORE, OWN.text]),
        "no text": holding([1, STORE, [b"x"]]),
        "no identity": holding([1, STORE, ["AGE-SECRET-KEY-1"]]),
        "too many": holding([1, STORE, [OWN.text] * 1025]),
        "too long": holding([1, STORE, ["x" * 257]]),
        "another version": holding([2, STORE, [OWN.text]]),
        "too few": holding([1, STORE]),
        "no array": holding(7),
        "no CBOR": lambda recipient: age.encrypt(b"\xff\xff", [recipient]),
    }


@pytest.mark.parametrize("what", _hostile())
def test_hostile_keys_are_refused_and_close_nothing_that_is_there(ring: Keyring, what: str) -> None:
    file = _hostile()[what](ring.invite(INVITATION, "right"))
    ring.arrive(STORE, INVITATION, file)
    with pytest.raises(Refused, match=r"damaged.*add-node"):
        ring.open(STORE, "right")
    ring.arrive(STORE, INVITATION, brought(age.generate().recipient))  # the next try takes its place
    ring.save(STORE, SECRETS, "right")
    assert ring.open(STORE, "right") == SECRETS


def test_a_full_disk_closes_no_store_and_loses_no_key(
    ring: Keyring, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    recipient = ring.invite(INVITATION, "right")
    with monkeypatch.context() as patch:
        patch.setattr(files, "write_durably", full)
        with pytest.raises(Temporary, match="No space left"):
            ring.arrive(STORE, INVITATION, brought(recipient))
    assert not ring.has(STORE)
    ring.arrive(STORE, INVITATION, brought(recipient))
    with monkeypatch.context() as patch:
        patch.setattr(files, "write_durably", full)
        with pytest.raises(Temporary, match="No space left"):
            ring.open(STORE, "right")
    assert ring.open(STORE, "right") == Secrets(None, (SHORT.text, OWN.text))
    ring.arrive(STORE, b"j" * 16, brought(ring.invite(b"j" * 16, "right"), LONG.text))
    with monkeypatch.context() as patch:
        patch.setattr(files, "write_durably", full)
        assert ring.open(STORE, "right") == Secrets(None, (SHORT.text, OWN.text))
    assert ring.open(STORE, "right") == Secrets(None, (SHORT.text, OWN.text, LONG.text))


def test_a_damaged_file_that_came_keeps_no_other_from_being_invited(ring: Keyring) -> None:
    ring.arrive(STORE, INVITATION, brought(ring.invite(INVITATION, "right")))
    (ring.folder / f"{STORE.hex()}.arrived").write_bytes(b"\xff")
    ring.forget(INVITATION)
    with pytest.raises(Refused, match="invite this node again"):
        ring.open(STORE, "right")


def test_a_crash_while_keys_are_opened_loses_nothing(
    ring: Keyring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring.arrive(STORE, INVITATION, brought(ring.invite(INVITATION, "right")))
    wanted = Secrets(None, (SHORT.text, OWN.text))
    number, done = 0, False
    while not done:
        number += 1
        assert number < 100
        crashed = Keyring(tmp_path / str(number), work=4)
        shutil.copytree(ring.folder, crashed.folder)
        with monkeypatch.context() as patch:
            crashing(patch, number)
            try:
                done = crashed.open(STORE, "right") == wanted
            except Crash:
                assert {"invitation", "arrived"} <= names(crashed) or "age" in names(crashed)
        after = Keyring(crashed.folder, work=4)
        assert after.has(STORE)
        assert after.open(STORE, "right") == wanted
        assert names(crashed) == {"age", "keys"}
        assert not [path for path in crashed.folder.rglob("*") if path.suffix in (".new", ".old", ".gone")]
    assert number > 20


def test_a_crash_while_keys_arrive_leaves_those_from_before_or_the_new(
    ring: Keyring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipient = ring.invite(INVITATION, "right")
    ring.arrive(STORE, INVITATION, brought(recipient, OWN.text))
    number, done = 0, False
    while not done:
        number += 1
        crashed = Keyring(tmp_path / str(number), work=4)
        shutil.copytree(ring.folder, crashed.folder)
        with monkeypatch.context() as patch:
            crashing(patch, number)
            try:
                crashed.arrive(STORE, INVITATION, brought(recipient, OWN.text, SHORT.text))
                done = True
            except Crash:
                pass
        got = set(Keyring(crashed.folder, work=4).open(STORE, "right").identities)
        assert got in ([{OWN.text, SHORT.text}] if done else [{OWN.text, SHORT.text}, {OWN.text}])
    assert number > 3


def test_two_that_unlock_at_once_do_not_write_over_each_other(ring: Keyring) -> None:
    ring.arrive(STORE, INVITATION, brought(ring.invite(INVITATION, "right")))
    got: list[Secrets] = []
    threads = [threading.Thread(target=lambda: got.append(ring.open(STORE, "right"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [Secrets(None, (SHORT.text, OWN.text))] * 4


def test_a_void_invitation_leaves_no_key_and_one_that_was_used_keeps_it(ring: Keyring) -> None:
    ring.forget(INVITATION)
    file = brought(ring.invite(INVITATION, "right"))
    ring.invite(b"j" * 16, "right")
    ring.forget(b"j" * 16)
    assert len(list(ring.folder.iterdir())) == 1
    ring.arrive(STORE, INVITATION, file)
    ring.forget(INVITATION)
    assert ring.open(STORE, "right").identities
