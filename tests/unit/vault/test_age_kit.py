"""Every file of the C2SP age test kit ends as it says."""

from __future__ import annotations

import hashlib
import zlib
from pathlib import Path
from typing import NamedTuple

import pytest

from mesyx_core.vault import age
from mesyx_core.vault.age.armor import decode as dearmor

KIT = Path(__file__).parents[2] / "vectors" / "age"
FILES = sorted(path.name for path in KIT.iterdir())
ERRORS: dict[str, type[age.AgeError]] = {
    "no match": age.NoMatch,
    "HMAC failure": age.MacError,
    "header failure": age.HeaderError,
    "payload failure": age.PayloadError,
    "armor failure": age.ArmorError,
}


class Case(NamedTuple):
    fields: dict[str, list[str]]
    file: bytes

    def only(self, name: str) -> str:
        (value,) = self.fields[name]
        return value


def read(name: str) -> Case:
    head, file = (KIT / name).read_bytes().split(b"\n\n", 1)
    fields: dict[str, list[str]] = {}
    for line in head.decode().splitlines():
        key, value = line.split(": ", 1)
        fields.setdefault(key, []).append(value)
    return Case(fields, zlib.decompress(file) if "compressed" in fields else file)


def opened(case: Case) -> bytes:
    file = dearmor(case.file) if "armored" in case.fields else case.file
    if "passphrase" in case.fields:
        return age.decrypt_passphrase(file, case.fields["passphrase"][0])
    return age.decrypt(file, [age.parse_identity(text) for text in case.fields.get("identity", ())])


def test_the_kit_is_whole() -> None:
    assert len(FILES) == 143


@pytest.mark.parametrize("name", FILES)
def test_file(name: str) -> None:
    case = read(name)
    expected = case.only("expect")
    if expected == "success":
        assert hashlib.sha256(opened(case)).hexdigest() == case.only("payload")
        return
    with pytest.raises(ERRORS[expected]) as caught:
        opened(case)
    assert caught.type is ERRORS[expected]
