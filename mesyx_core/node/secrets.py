"""What unlocking a store gives, and the passphrase that it takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from anyio.to_thread import run_sync

from mesyx_core.api.errors import Misconfigured, Refused
from mesyx_core.vault import age


@dataclass(frozen=True, slots=True)
class Secrets:
    """What unlocking one store gives."""

    owner: bytes | None
    """The owner's private key; None where it is kept elsewhere."""
    identities: tuple[str, ...]
    """age identities in their text form; in an order of their own."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "identities", tuple(sorted(set(self.identities))))

    def keys(self) -> list[age.Identity]:
        return [age.parse_identity(text) for text in self.identities]


def passphrase(file: Path) -> str:
    """A passphrase file's first line. Raises Misconfigured."""
    try:
        with file.open("r", encoding="utf-8") as stream:
            line = stream.readline(4096).rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(
            f"{file}: the passphrase cannot be read", "name a text file; its first line is the passphrase"
        ) from error
    if not line:
        raise Misconfigured(f"{file}: the first line is empty", "write the passphrase on the first line")
    return line


async def given(passphrase_file: str | None, typed: str | None) -> str:
    """The passphrase that came with a command. Raises Refused when none did, Misconfigured."""
    if passphrase_file is not None:
        return await run_sync(passphrase, Path(passphrase_file))
    if not typed:
        raise Refused("a store's private keys are under a passphrase", "give --passphrase-file FILE")
    return typed
