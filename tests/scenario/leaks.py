"""What a node's files give away: looks for words of real mail, and for private keys, in all that a gateway keeps.

A word is a run of 14 or more address or word characters. A piece of one is as good as the whole: every 14 characters
of a mail's words are looked for.
"""

from __future__ import annotations

import base64
import os
import re
import stat
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from mesyx_core.node.keyring import Keyring
from mesyx_core.node.secrets import Secrets
from mesyx_core.vault import age
from mesyx_core.vault.age import bech32
from tests.scenario.cluster import PASSPHRASE, Node, Pair

LENGTH = 14
_WORD = re.compile(rb"[A-Za-z0-9._%%+@-]{%d,}" % LENGTH)


def words(data: bytes) -> set[bytes]:
    return set(_WORD.findall(data))


class Words:
    """The words of some mails; tells which parts of other words are among them."""

    def __init__(self, texts: Iterable[bytes], excepted: Iterable[str] = ()) -> None:
        found: set[bytes] = set()
        for text in texts:
            found |= words(text)
        self._text = b"\n".join(sorted(found))
        self._excepted = tuple(each.encode() for each in excepted)

    def __contains__(self, piece: bytes) -> bool:
        return piece in self._text

    def among(self, word: bytes) -> Iterator[bytes]:
        """The pieces of `word`, 14 characters each, that the mails have too."""
        for each in self._excepted:
            word = word.replace(each, b"\n")
        for start in range(len(word) - LENGTH + 1):
            piece = word[start : start + LENGTH]
            if b"\n" not in piece and piece in self._text:
                yield piece


def files(node: Node) -> Iterator[tuple[str, bytes]]:
    """All that a node keeps or has open, also what has no name: (name, content)."""
    places = [node.folder, node.temporary]
    if node.process is not None and node.process.poll() is None:
        places.append(Path(f"/proc/{node.process.pid}/fd"))
    seen = set()
    for path in [
        node.log,
        *(Path(top, name) for place in places for top, _, names in os.walk(place) for name in names),
    ]:
        try:
            about = path.stat()
            if stat.S_ISREG(about.st_mode) and (about.st_dev, about.st_ino) not in seen:
                seen.add((about.st_dev, about.st_ino))
                yield str(path), path.read_bytes()
        except FileNotFoundError:
            continue


class Scan:
    """Looks at one gateway's files, again and again, beside those of a node that never took in anything."""

    def __init__(self, node: Node, idle: Node, texts: Words, keys: dict[str, bytes]) -> None:
        self._node = node
        self._texts = texts
        self._keys = keys
        clean = [data for _, data in files(idle)]
        self._idle = Words(clean)
        self._clean: set[bytes] = set().union(*map(words, clean))
        self.scanned = 0
        """Bytes looked at so far."""
        self.found: set[str] = set()
        """What was found, and where."""

    def look(self) -> None:
        for name, data in files(self._node):
            self.scanned += len(data)
            self.found |= {f"{what} in {name}" for what, key in self._keys.items() if key in data}
            for word in words(data) - self._clean:
                pieces = [piece for piece in self._texts.among(word) if piece not in self._idle]
                if pieces:
                    self.found |= {f"{piece!r} in {name}" for piece in pieces}
                else:
                    self._clean.add(word)

    def keep_looking(self, until: threading.Event, pause: float) -> int:
        """Look again and again; how often it looked."""
        count = 0
        while not until.is_set():
            self.look()
            count += 1
            until.wait(pause)
        return count


def private_keys(pair: Pair) -> dict[str, bytes]:
    """Every private key of the client, in each form in which it might be written down."""
    armored = pair.kit[pair.kit.index("-----BEGIN AGE") :].partition("-----END AGE ENCRYPTED FILE-----")
    kit = age.decrypt_passphrase((armored[0] + armored[1] + "\n").encode(), PASSPHRASE).decode()
    secrets = dict(re.findall(r"# ([a-z-]+-key): ([0-9a-f]{64})", kit))
    secrets["client's node key"] = (pair.client.folder / "state" / "node.key").read_text().strip().rpartition(":")[2]
    raw = {name: bytes.fromhex(secret) for name, secret in secrets.items()}
    found = {}
    for number, text in enumerate(_opened(pair).identities):
        found[f"identity {number}"] = text.encode()
        raw[f"identity {number}'s secret"] = bech32.decode(text)[1]
    for name, secret in raw.items():
        assert len(secret) == 32
        found[name] = secret
        found[f"{name} in hex"] = secret.hex().encode()
        found[f"{name} in base64"] = base64.b64encode(secret)[:40]
    assert {"owner-key", "next-owner-key", "identity 2"} <= found.keys()
    return {**found, "an age identity": b"AGE-SECRET-KEY-", "the passphrase": PASSPHRASE.encode()}


def _opened(pair: Pair) -> Secrets:
    folder = pair.client.folder / "state" / "keys"
    (file,) = folder.glob("*.age")
    return Keyring(folder).open(bytes.fromhex(file.stem), PASSPHRASE)
