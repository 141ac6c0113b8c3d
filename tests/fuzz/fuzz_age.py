"""Hostile age files, armor and keys: an AgeError or a result, never anything else."""

from __future__ import annotations

import contextlib
from itertools import count

from mesyx_core.vault import age
from mesyx_core.vault.age import armor

CLASSIC = age.Identity.classic(b"1" * 32)
HYBRID = age.Identity.hybrid(b"2" * 32)


def _seeds() -> list[bytes]:
    counter = count()

    def random(size: int) -> bytes:
        return next(counter).to_bytes(size, "big")

    files = [age.encrypt(b"text", [key.recipient], random=random) for key in (CLASSIC, HYBRID)]
    files.append(age.encrypt_passphrase(b"text", "word", work=1, random=random))
    keys = [text.encode() for key in (CLASSIC, HYBRID) for text in (key.text, key.recipient)]
    return [b"", *files, *map(armor.encode, files), *keys]


SEEDS: list[bytes] = _seeds()


def target(data: bytes) -> None:
    """Read `data` as everything that the package reads. Passphrases at a low cost, to be bounded in time."""
    text = data.decode("latin-1")
    with contextlib.suppress(age.AgeError):
        age.decrypt(data, [CLASSIC, HYBRID])
    with contextlib.suppress(age.AgeError):
        age.decrypt_passphrase(data, "word", max_work=4)
    with contextlib.suppress(age.AgeError):
        armor.decode(data)
    with contextlib.suppress(age.AgeError):
        age.check_recipient(text)
    with contextlib.suppress(age.AgeError):
        age.parse_identity(text)
