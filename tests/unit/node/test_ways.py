"""A store is unlocked by what its owner has let in, and by nothing else; never is the owner key part of it."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mesyx_core.api import Refused
from mesyx_core.node import ageplugin, desktop, ways
from mesyx_core.node.keyring import Keyring
from mesyx_core.node.secrets import Secrets
from mesyx_core.vault import age
from mesyx_core.vault.age import bech32

STORE = b"s" * 32
OWNER = b"o" * 32
A, B = age.generate(), age.generate()
DATA = bytes(range(16))
RECIPIENT = bech32.encode("age1toy", DATA)
IDENTITY = bech32.encode("age-plugin-toy-", DATA).upper()
OTHER = bech32.encode("age-plugin-toy-", bytes(16)).upper()

TOY = '''#!{python}
"""A plugin that wraps a file key by XOR with what stands in its recipient, and can be told to misbehave."""
import base64, hashlib, os, sys

def read():
    line = sys.stdin.buffer.readline().rstrip(b"\\n")
    body = b""
    while True:
        part = sys.stdin.buffer.readline().rstrip(b"\\n")
        body += part
        if len(part) < 64:
            break
    return line.split(b" ")[1:], base64.b64decode(body + b"=" * (-len(body) % 4))

def say(words, body=b""):
    text = base64.b64encode(body).rstrip(b"=")
    lines = [text[at:at + 64] for at in range(0, len(text) + 1, 64)]
    sys.stdout.buffer.write(b"\\n".join([b"-> " + b" ".join(words), *lines]) + b"\\n")
    sys.stdout.buffer.flush()

def pad(text):
    import hashlib
    return hashlib.sha256(text.lower().rpartition(b"1")[2][:-6]).digest()[:16]

def xor(one, other):
    return bytes(a ^ b for a, b in zip(one, other))

mood = os.environ.get("TOY", "")
keys, stanzas, file_key = [], [], b""
while True:
    words, body = read()
    if words[0] in (b"add-recipient", b"add-identity"):
        keys.append(words[1])
    elif words[0] == b"wrap-file-key":
        file_key = body
    elif words[0] == b"recipient-stanza":
        stanzas.append((words[2:], body))
    elif words[0] == b"done":
        break
if mood == "dies":
    sys.exit(1)
if mood == "hangs":
    import time
    time.sleep(60)
if mood == "floods":
    while True:
        sys.stdout.buffer.write(b"x" * 65536)
if mood == "babbles":
    while True:
        say([b"msg"], b"again")
        read()
if mood == "error":
    say([b"error", b"internal"], b"no such \\x1b[31mtoken")
    read()
if mood == "touch":
    say([b"msg"], b"touch it")
    assert read()[0] == [b"ok"]
    say([b"grease-1", b"x"], b"y")
    assert read()[0] == [b"unsupported"]
    say([b"request-secret"], b"PIN?")
    words, body = read()
    if words != [b"ok"] or body != b"1234":
        say([b"error", b"internal"], b"wrong PIN")
        read()
    say([b"confirm", base64.b64encode(b"yes").rstrip(b"="), base64.b64encode(b"no").rstrip(b"=")], b"go on?")
    assert read()[0] in ([b"ok", b"yes"], [b"fail"])
if "recipient-v1" in sys.argv[1]:
    say([b"recipient-stanza", b"0", b"toy", base64.b64encode(hashlib.sha256(pad(keys[0])).digest()[:4]).rstrip(b"=")],
        xor(file_key, pad(keys[0])))
    read()
else:
    for words, body in stanzas:
        tag = base64.b64encode(hashlib.sha256(pad(keys[0])).digest()[:4]).rstrip(b"=")
        if words == [b"toy", tag]:
            say([b"file-key", b"0"], xor(body, pad(keys[0])))
            read()
say([b"done"])
'''


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / "bin" / "age-plugin-toy"
    program.parent.mkdir()
    program.write_text(TOY.replace("{python}", sys.executable))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    return program


@pytest.fixture
def ring(tmp_path: Path) -> Keyring:
    made = Keyring(tmp_path / "keys", 4)
    made.save(STORE, Secrets(OWNER, (A.text, B.text)), "right")
    return made


class Typist:
    """A person who reads along, and knows a PIN."""

    def __init__(self, pin: str | None = "1234") -> None:
        self.pin = pin
        self.read: list[str] = []

    def tell(self, text: str) -> None:
        self.read.append(text)

    def ask(self, text: str, secret: bool) -> str | None:
        assert secret
        self.read.append(text)
        return self.pin

    def confirm(self, text: str, yes: str, no: str) -> bool | None:
        self.read.append(f"{text} {yes} {no}")
        return True


# --- identity files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hybrid", [True, False])
def test_an_identity_that_was_let_in_opens_the_keys_and_not_the_owners(ring: Keyring, hybrid: bool) -> None:
    key = age.generate(hybrid=hybrid)
    ring.add_way(STORE, "right", "identity", key.recipient, "stick")
    identity = ways.opened(ring.ways(STORE), [age.generate().text, key.text])
    assert Keyring(ring.folder).open_by(STORE, identity) == Secrets(None, (A.text, B.text))


def test_letting_in_takes_the_passphrase(ring: Keyring) -> None:
    with pytest.raises(Refused, match="wrong passphrase"):
        ring.add_way(STORE, "wrong", "identity", age.generate().recipient, "thief")
    assert ring.ways(STORE) == []


def test_a_key_that_was_not_let_in_opens_nothing(ring: Keyring) -> None:
    ring.add_way(STORE, "right", "identity", age.generate().recipient, "stick")
    with pytest.raises(Refused, match="none of these keys"):
        ways.opened(ring.ways(STORE), [age.generate().text, A.text])


def test_keys_that_come_later_are_opened_too(ring: Keyring) -> None:
    key, later = age.generate(), age.generate()
    ring.add_way(STORE, "right", "identity", key.recipient, "stick")
    ring.add(STORE, [later.text])
    assert later.text in ring.open_by(STORE, ways.opened(ring.ways(STORE), [key.text])).identities


def test_another_stores_identity_is_refused(ring: Keyring) -> None:
    with pytest.raises(Refused, match="another store"):
        ring.open_by(STORE, age.generate().text)


def test_a_way_that_was_removed_is_overwritten(ring: Keyring, tmp_path: Path) -> None:
    key = age.generate()
    way = ring.add_way(STORE, "right", "identity", key.recipient, "stick")
    os.link(ring.folder / f"{STORE.hex()}.ways/{way.id}.age", tmp_path / "the blocks")
    ring.remove_way(STORE, way.id)
    assert ring.ways(STORE) == []
    assert (tmp_path / "the blocks").read_bytes() != way.file
    assert not list((ring.folder / f"{STORE.hex()}.ways").iterdir())


def test_nothing_of_a_way_is_in_clear(ring: Keyring) -> None:
    ring.add_way(STORE, "right", "identity", age.generate().recipient, "stick")
    data = b"".join(path.read_bytes() for path in ring.folder.rglob("*") if path.is_file())
    assert b"AGE-SECRET-KEY-" not in data


@pytest.mark.parametrize(
    "text", ["", "hello", "age1", A.text, RECIPIENT[:-1], "age1toy1", "age1../x1qqqqqqqqqqqqqqqq"], ids=range(7)
)
def test_what_is_no_recipient_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="no age recipient"):
        ways.kind_of(text)


# --- plugins ----------------------------------------------------------------------------------------------------------


def test_a_plugin_seals_and_opens(toy: Path, ring: Keyring) -> None:
    assert ways.kind_of(RECIPIENT) == "plugin"
    ring.add_way(STORE, "right", "plugin", RECIPIENT, "token")
    found = ways.opened(ring.ways(STORE), [OTHER, IDENTITY])
    assert ring.open_by(STORE, found) == Secrets(None, (A.text, B.text))
    with pytest.raises(Refused, match="none of these keys"):
        ways.opened(ring.ways(STORE), [OTHER])


def test_a_plugin_that_asks_is_answered(toy: Path, ring: Keyring, monkeypatch: pytest.MonkeyPatch) -> None:
    ring.add_way(STORE, "right", "plugin", RECIPIENT, "token")
    monkeypatch.setenv("TOY", "touch")
    person = Typist()
    ways.opened(ring.ways(STORE), [IDENTITY], person)
    assert person.read == ["touch it", "PIN?", "go on? yes no"]
    for nobody in (Typist("0000"), Typist(None), None):
        with pytest.raises(Refused, match="wrong PIN"):
            ways.opened(ring.ways(STORE), [IDENTITY], nobody)


@pytest.mark.parametrize("mood", ["dies", "floods", "babbles", "error", "hangs"])
def test_a_plugin_that_misbehaves_is_named_and_ended(
    toy: Path, ring: Keyring, monkeypatch: pytest.MonkeyPatch, mood: str
) -> None:
    ring.add_way(STORE, "right", "plugin", RECIPIENT, "token")
    monkeypatch.setenv("TOY", mood)
    if mood == "hangs":
        monkeypatch.setattr(ageplugin, "PATIENCE", 0.2)
    with pytest.raises(Refused, match="age-plugin-toy") as refused:
        ways.opened(ring.ways(STORE), [IDENTITY])
    assert "\x1b" not in str(refused.value)


def test_a_plugin_that_is_not_installed_is_named(ring: Keyring) -> None:
    with pytest.raises(Refused, match="age-plugin-toy cannot be run"):
        ring.add_way(STORE, "right", "plugin", RECIPIENT, "token")


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (age.recipient_plugin, bech32.encode("age1../../bin/sh", DATA)),
        (age.recipient_plugin, A.recipient.upper()),
        (age.recipient_plugin, bech32.encode("age", DATA)),
        (age.identity_plugin, bech32.encode("age-plugin-/bin/sh-", DATA).upper()),
        (age.identity_plugin, bech32.encode("age-plugin-toy", DATA).upper()),
        (age.identity_plugin, IDENTITY.lower()),
        (age.identity_plugin, A.text),
    ],
    ids=range(7),
)
def test_only_names_of_plugins_become_programs(parse: Callable[[str], str], text: str) -> None:
    with pytest.raises(age.AgeError):
        parse(text)


# --- the desktop ------------------------------------------------------------------------------------------------------


class Desk:
    """Stands for the `keyring` library."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], str] = {}
        self.locked = False

    def _reach(self) -> None:
        if self.locked:
            raise RuntimeError("locked")

    def set_password(self, service: str, name: str, value: str) -> None:
        self._reach()
        self.kept[service, name] = value

    def get_password(self, service: str, name: str) -> str | None:
        self._reach()
        return self.kept.get((service, name))

    def delete_password(self, service: str, name: str) -> None:
        self._reach()
        del self.kept[service, name]


def test_the_desktops_keyring_holds_one_half(ring: Keyring, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    monkeypatch.setitem(sys.modules, "keyring", desk)
    ring.add_way(STORE, "right", "desktop", desktop.keep(STORE.hex()), "desk")
    found = ways.opened(ring.ways(STORE), [desktop.identity(STORE.hex())])
    assert ring.open_by(STORE, found) == Secrets(None, (A.text, B.text))
    desk.locked = True
    with pytest.raises(Refused, match="desktop's keyring"):
        desktop.identity(STORE.hex())
    desk.locked = False
    desktop.forget(STORE.hex())
    desktop.forget(STORE.hex())
    assert desktop.identity(STORE.hex()) == ""


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(Refused, match="install") as refused:
        desktop.keep(STORE.hex())
    assert "mesyx[keyring]" in str(refused.value)
