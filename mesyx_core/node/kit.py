"""The recovery kit: what goes on paper when a store is made, readable with stock age tools and the passphrase."""

from __future__ import annotations

from collections.abc import Sequence

from mesyx_core.vault import age


def recovery_kit(name: str, owner: bytes, following: bytes, identities: Sequence[age.Identity], phrase: str) -> str:
    """An armored age passphrase file. Opened, it is an age identity file whose comments hold the owner's keys."""
    lines = [
        f"# mesyx recovery kit 1 of store {name}",
        f"# owner-key: {owner.hex()}",
        f"# next-owner-key: {following.hex()}",
        *(identity.text for identity in identities),
    ]
    sealed = age.encrypt_passphrase("\n".join([*lines, ""]).encode(), phrase, armor=True)
    return sealed.decode("ascii")
