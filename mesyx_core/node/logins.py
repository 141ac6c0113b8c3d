"""App passwords: who may open which store's view. What is kept of a password cannot be turned back into it."""

from __future__ import annotations

import base64
import os
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from mesyx_core.api import LoginFailed, Refused, View
from mesyx_core.node.rows import SealedRows
from mesyx_core.vault import labels
from mesyx_core.vault.nodekey import NodeKey
from mesyx_core.wire import sasl

SPACE: Final = "login"
SALT: Final = "salt"
PAUSE: Final = (0.2, 0.5, 1.0, 2.0, 4.0)
"""Seconds before a failed log-in is answered, by the name's failures so far. A right password never waits."""


class Login(NamedTuple):
    store: bytes
    label: str


class Logins:
    """All log-ins of a node. `find` gives the view of an unlocked store by its name and raises Locked for a locked
    one.
    """

    def __init__(
        self,
        rows: SealedRows,
        key: NodeKey,
        find: Callable[[str], tuple[bytes, Callable[[], View]] | None],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._rows = rows
        self._key = key
        self._find = find
        self._sleep = sleep
        self._verifiers: dict[Login, bytes] = {}
        self._salts: dict[bytes, bytes] = {}
        self._failures: Counter[str] = Counter()

    async def load(self) -> None:
        for key, value in (await self._rows.all(SPACE)).items():
            store, _, label = key.partition("/")
            self._verifiers[Login(bytes.fromhex(store), label)] = value
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
            store, view = found[0], found[1]()
            if any([proof(verifier) for login, verifier in self._verifiers.items() if login.store == store]):
                self._failures.pop(name, None)
                return view
        failures = self._failures[name]
        if len(self._failures) > 10_000:
            self._failures.clear()
        self._failures[name] += 1
        await self._sleep(PAUSE[min(failures, len(PAUSE) - 1)])
        raise LoginFailed("wrong name or password")

    async def add(self, store: bytes, label: str) -> str:
        """A new app password: 125 random bits, no spaces. Raises Refused for a label that is taken."""
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
        await self._rows.put(SPACE, {f"{store.hex()}/{label}": verifier})
        self._verifiers[Login(store, label)] = verifier
        return password

    async def remove(self, store: bytes, label: str) -> None:
        if Login(store, label) not in self._verifiers:
            raise Refused(f"there is no log-in with the label {label!r}", "`mesyx login list` names them")
        await self._rows.put(SPACE, {f"{store.hex()}/{label}": None})
        del self._verifiers[Login(store, label)]

    def of(self, store: bytes) -> list[str]:
        return sorted(login.label for login in self._verifiers if login.store == store)
