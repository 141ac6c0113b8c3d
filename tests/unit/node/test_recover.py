"""What `mesyx recover` takes its keys from: nothing of a copy is changed, and one key that is there is enough."""

from __future__ import annotations

from pathlib import Path

import pytest

from mesyx_core.api import Refused
from mesyx_core.node.keyring import Keyring
from mesyx_core.node.recover import Recovery, complete, keyrings, opening
from mesyx_core.node.secrets import Secrets
from mesyx_core.vault import age

STORE = b"s" * 32
KEY, OTHER = age.generate(hybrid=False), age.generate(hybrid=False)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Of a client's state, whose node was killed while it destroyed a key."""
    ring = Keyring(tmp_path / "state" / "keys", 4)
    ring.save(STORE, Secrets(None, (KEY.text,)), "right")
    (ring.folder / f"{STORE.hex()}.keys" / "00.age.gone").write_bytes(b"what is left of it")
    return tmp_path / "state"


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def job(copy: Path, phrase: str, *identities: age.Identity) -> Recovery:
    return Recovery(source=copy, target=copy, form="maildir", identities=identities, phrase=phrase)


def scratch(tmp_path: Path) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


def test_opening_the_keyring_of_a_copy_changes_nothing_of_it(copy: Path, tmp_path: Path) -> None:
    before = tree(copy)
    found = opening(job(copy, "right"), [STORE], keyrings(copy, scratch(tmp_path)))
    assert [key.text for key in found[STORE]] == [KEY.text]
    assert tree(copy) == before


def test_a_kits_passphrase_need_not_be_the_keyrings(copy: Path, tmp_path: Path) -> None:
    rings = keyrings(copy, scratch(tmp_path))
    assert opening(job(copy, "the kit's", OTHER), [STORE], rings) == {STORE: [OTHER]}
    with pytest.raises(Refused, match="wrong passphrase"):
        opening(job(copy, "the kit's"), [STORE], rings)


def test_what_is_damaged_is_not_all_of_it() -> None:
    assert complete([{"locked": 0, "incomplete": 0, "violations": 0}])
    assert not complete([{"locked": 0, "incomplete": 0, "violations": 1}])
