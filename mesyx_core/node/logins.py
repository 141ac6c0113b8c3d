"""App passwords: who may open which store's view. What is kept of a password cannot be turned back into it."""

from __future__ import annotations

import base64
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple, TypeAlias

from mesyx_core.api import LoginFailed, Refused, View
from mesyx_core.node.rows import SealedRows
from mesyx_core.vault import labels
from mesyx_core.vault.encoding import decode, encode
from mesyx_core.vault.nodekey import NodeKey
from mesyx_core.wire import sasl

SPACE: Final = "login"
IDENTITIES: Final = "login-identities"
SALT: Final = "salt"
PAUSE: Final = (0.2, 0.5, 1.0, 2.0, 4.0)
"""Seconds before a failed log-in is answered, by the name's failures so far. A right password never waits."""


class Login(NamedTuple):
    store: bytes
    label: str


Open: TypeAlias = Callable[[str, Sequence[str] | None], View]
"""The view for a log-in by its label, limited to some identities if any are given. Raises Locked."""


class Logins:
    """All log-ins of a node. `find` gives a store by its name, and how its view is opened."""

    def __init__(
        self,
        rows: SealedRows,
        key: NodeKey,
        find: Callable[[str], tuple[bytes, Open] | None],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._rows = rows
        self._key = key
        self._find = find
        self._sleep = sleep
        self._verifiers: dict[Login, bytes] = {}
        self._identities: dict[Login, tuple[str, ...]] = {}
        self._salts: dict[bytes, bytes] = {}
        self._failures: Counter[str] = Counter()

    async def load(self) -> None:
        for key, value in (await self._rows.all(SPACE)).items():
            self._verifiers[_login(key)] = value
        for key, value in (await self._rows.all(IDENTITIES)).items():
            self._identities[_login(key)] = tuple(decode(value, limit=1 << 20)[1:])
        self._salts = {bytes.fromhex(k): v for k, v in (await self._rows.all(SALT)).items()}

    def salt(self, name: str) -> bytes:
        found = self._find(name)
        if found is not None and found[0] in self._salts:
            return self._salts[found[0]]
        return self._key.sign(labels.LOGIN, name)[:16]

    async def open(self, name: str, proof: Callable[[bytes], bool]) -> View:
        """Raises LoginFailed after a pause, or Locked."""
        found = self._find(name)
        if found is not None:
            store, view = found
            view("", ())  # raises Locked whatever the password
            tried = [(proof(verifier), login) for login, verifier in self._verifiers.items() if login.store == store]
            proved = [login for right, login in tried if right]
            if proved:
                self._failures.pop(name, None)
                return view(proved[0].label, self._identities.get(proved[0]))
        failures = self._failures[name]
        if len(self._failures) > 10_000:
            self._failures.clear()
        self._failures[name] += 1
        await self._sleep(PAUSE[min(failures, len(PAUSE) - 1)])
        raise LoginFailed("wrong name or password")

    async def add(self, store: bytes, label: str, identities: Sequence[str] = ()) -> str:
        """A new app password: 125 random bits, no spaces. With identities it sends as these alone. Raises Refused for
        a label that is taken."""
        if Login(store, label) in self._verifiers:
            raise Refused(
                f"there is a log-in with the label {label!r} already", "remove it first, or choose another --label"
            )
        if store not in self._salts:
            self._salts[store] = os.urandom(16)
            await self._rows.put(SALT, {store.hex(): self._salts[store]})
        text = base64.b32encode(os.urandom(16)).decode("ascii").lower()[:25]
        password = "-".join(text[at : at + 5] for at in range(0, 25, 5))
        verifier = sasl.make_verifier(password, self._salts[store]).pack()
        limit = tuple(sorted(set(identities)))
        # The limit first: a log-in that has come to be without it could send as anyone.
        await self._rows.put(IDENTITIES, {f"{store.hex()}/{label}": encode([1, *limit]) if limit else None})
        await self._rows.put(SPACE, {f"{store.hex()}/{label}": verifier})
        self._verifiers[Login(store, label)] = verifier
        self._identities.pop(Login(store, label), None)
        if limit:
            self._identities[Login(store, label)] = limit
        return password

    async def remove(self, store: bytes, label: str) -> None:
        if Login(store, label) not in self._verifiers:
            raise Refused(f"there is no log-in with the label {label!r}", "`mesyx login list` names them")
        await self._rows.put(SPACE, {f"{store.hex()}/{label}": None})
        await self._rows.put(IDENTITIES, {f"{store.hex()}/{label}": None})
        del self._verifiers[Login(store, label)]
        self._identities.pop(Login(store, label), None)

    def of(self, store: bytes) -> list[str]:
        return sorted(login.label for login in self._verifiers if login.store == store)

    def identities(self, store: bytes, label: str) -> tuple[str, ...]:
        """What a log-in is limited to send as; empty for all that the store is granted."""
        return self._identities.get(Login(store, label), ())


def _login(key: str) -> Login:
    store, _, label = key.partition("/")
    return Login(bytes.fromhex(store), label)
