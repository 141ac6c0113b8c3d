"""The recovery kit: what goes on paper when a store is made, readable with stock age tools and the passphrase.

Opened, it is an age identity file whose comments hold the owner's keys, the store's id, and where its
nodes are reached.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from mesyx_core.api import Refused
from mesyx_core.vault import age

LIMIT: Final = 64 << 10
_NODES: Final = 4
"""Members whose addresses it has: it is to fit on paper."""


class Kit(NamedTuple):
    """What is in one, or in several of one store together."""

    name: str
    store: bytes
    owner: bytes | None
    """The owner's private key."""
    following: bytes | None
    """The only one that can succeed it; a kit made after keys were exchanged has none."""
    identities: tuple[str, ...]
    """age identities in their text form."""
    places: tuple[str, ...] = ()
    """Transport URLs of members."""


def recovery_kit(kit: Kit, phrase: str) -> str:
    """An armored age passphrase file."""
    lines = [
        f"# mesyx recovery kit 1 of store {kit.name}",
        f"# store: {kit.store.hex()}",
        *([f"# owner-key: {kit.owner.hex()}"] if kit.owner is not None else []),
        *([f"# next-owner-key: {kit.following.hex()}"] if kit.following is not None else []),
        *(f"# reached-at: {place}" for place in kit.places[:_NODES]),
        *kit.identities,
    ]
    sealed = age.encrypt_passphrase("\n".join([*lines, ""]).encode(), phrase, armor=True)
    return sealed.decode("ascii")


def opened(texts: Iterable[str], phrase: str) -> Kit:
    """What is in recovery kits of one store, the newest first. Takes about a second for each. Raises Refused."""
    kits = [_opened(text, phrase) for text in texts]
    if len({kit.store for kit in kits}) != 1:
        raise Refused("these are recovery kits of several stores", "give those of one")
    return Kit(
        kits[0].name,
        kits[0].store,
        next((kit.owner for kit in kits if kit.owner is not None), None),
        next((kit.following for kit in kits if kit.following is not None), None),
        tuple(dict.fromkeys(each for kit in kits for each in kit.identities)),
        tuple(dict.fromkeys(each for kit in kits for each in kit.places)),
    )


def _opened(text: str, phrase: str) -> Kit:
    try:
        if len(text) > LIMIT:
            raise ValueError("too long")
        plain = age.decrypt_passphrase(text.encode("ascii"), phrase).decode()
        name = re.match(r"# mesyx recovery kit 1 of store (.+)\n", plain)
        store = _said(plain, "store", 32)
        if name is None or store is None:
            raise ValueError("not a kit")
        identities = [line for line in plain.splitlines() if line.startswith("AGE-SECRET-KEY-")]
        return Kit(
            name[1],
            store,
            _said(plain, "owner-key", 32),
            _said(plain, "next-owner-key", 32),
            tuple(age.parse_identity(line).text for line in identities),
            tuple(re.findall(r"(?m)^# reached-at: (\S+)$", plain)),
        )
    except age.NoMatch as error:
        raise Refused(
            "wrong passphrase for this recovery kit", "give the one that the store was created with"
        ) from error
    except (age.AgeError, ValueError) as error:
        raise Refused("this is no recovery kit", "give the file that `mesyx store create --kit` wrote") from error


def _said(text: str, word: str, size: int) -> bytes | None:
    found = re.search(rf"(?m)^# {word}: ([0-9a-f]{{{2 * size}}})$", text)
    return bytes.fromhex(found[1]) if found else None
