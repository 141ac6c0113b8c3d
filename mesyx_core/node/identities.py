"""Private keys as age keeps them: an identity file, in clear or under a passphrase."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from mesyx_core.api.errors import Refused
from mesyx_core.vault import age

LIMIT: Final = 1 << 20
MOST: Final = 4096


def read_identities(file: Path, phrase: str | None = None) -> list[age.Identity]:
    """The keys in an age identity file; one that is itself an age file (armored or not) needs the passphrase. Raises
    Refused."""
    try:
        with file.open("rb") as stream:
            data = stream.read(LIMIT + 1)
    except OSError as error:
        raise Refused(f"{file}: cannot be read ({error.strerror})", "name an age identity file") from error
    if len(data) > LIMIT:
        raise Refused(f"{file}: is larger than 1 MiB", "this is hardly an identity file; check the path")
    if is_sealed(data):
        data = _unsealed(file, data, phrase)
    return parse_identities(data, str(file))


def is_sealed(data: bytes) -> bool:
    """Whether it is an age file."""
    return data.startswith((b"age-encryption.org/", b"-----BEGIN AGE ENCRYPTED FILE-----"))


def sealed_among(files: Iterable[Path]) -> bool:
    """Whether one of them asks for a passphrase. What cannot be read is for `read_identities` to refuse."""
    return any(map(is_sealed, map(_beginning, files)))


def _beginning(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            return stream.read(64)
    except OSError:
        return b""


def _unsealed(file: Path, data: bytes, phrase: str | None) -> bytes:
    if not phrase:
        raise Refused(f"{file}: is under a passphrase", "give --passphrase-file FILE")
    try:
        return age.decrypt_passphrase(data, phrase)
    except age.NoMatch as error:
        raise Refused(f"{file}: wrong passphrase", "give the one that it was made with") from error
    except age.AgeError as error:
        raise Refused(f"{file}: is damaged, or not under a passphrase", "name an age identity file") from error


def parse_identities(data: bytes, name: str) -> list[age.Identity]:
    """One key a line, `#` begins a comment. Raises Refused when there is none, or one that is none."""
    try:
        lines = [line.strip() for line in data.decode("ascii").splitlines()]
        found = [age.parse_identity(line) for line in lines if line and not line.startswith("#")]
    except (UnicodeDecodeError, age.AgeError) as error:
        raise Refused(f"{name}: holds something else than age keys", "a key is a line AGE-SECRET-KEY-…") from error
    if not 0 < len(found) <= MOST:
        raise Refused(f"{name}: holds no age key", "a key is a line AGE-SECRET-KEY-…")
    return found
