"""Private keys that lie where a node could take them up that is meant to be unable to read: such a node does not start.

What is looked at: the keyring in the state folder, the files beside mesyx.toml and in the state folder, and every file
that mesyx.toml or the command line names. A key counts that opens or governs a store which the node holds, by any
manifest it ever had; what is under a passphrase is seen in the keyring alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from anyio.to_thread import run_sync

from mesyx_core.api import Misconfigured
from mesyx_core.node.finding import Finding, finding
from mesyx_core.node.stores import Store
from mesyx_core.vault import age
from mesyx_core.vault.manifest import next_commitment, owner_public

if TYPE_CHECKING:
    from mesyx_core.node.core import Node

READERS: Final = frozenset(("client", "reencrypt"))
LARGEST: Final = 1 << 20
MANY: Final = 2000
"""Files of a folder that are looked at."""
_IDENTITY: Final = re.compile(rb"AGE-SECRET-KEY-[0-9A-Z-]{20,120}")
_OWNER: Final = re.compile(rb"(?<![0-9A-Fa-f])[0-9A-Fa-f]{64}(?![0-9A-Fa-f])")
_KEYS: Final = 200
"""What looks like a key, in one file."""


class Reached(NamedTuple):
    """A private key in reach."""

    path: Path
    store: str
    """The store's name."""


def refuse(node: Node, named: Iterable[Path] = ()) -> None:
    """Raises Misconfigured when a key lies in reach of a node that offers neither to be a client nor to re-encrypt."""
    found = next(within(node, named), None)
    if found is not None:
        raise Misconfigured(told(found), REMEDY)


def within(node: Node, named: Iterable[Path] = ()) -> Iterator[Reached]:
    """Private keys in reach of a node that may not have any; `named`: files that the command line names."""
    if READERS & set(node.config.node.roles):
        return
    stores = list(node.stores)
    for store in stores:
        if node.keyring.has(store.id) or node.keyring.held(store.id):
            yield Reached(node.keyring.folder, store.name)
    if stores:
        known = _known(stores)
        for path in dict.fromkeys([*named, *_named(node), *_beside(node)]):
            yield from (Reached(path, name) for name in sorted(_in_file(path, known)))


async def findings(node: Node) -> list[Finding]:
    """For `mesyx doctor`."""
    found = await run_sync(lambda: list(within(node)))
    return [finding("error", told(one), REMEDY) for one in found]


def told(found: Reached) -> str:
    """For a person."""
    what = f"{found.path}: a private key of {found.store} lies in reach of this node, which must not be able to read it"
    return what


REMEDY: Final = 'move it to a client and destroy it here; a node that may have it says so: [node] roles = ["client"]'


def _known(stores: Iterable[Store]) -> Mapping[str | bytes, str]:
    """Recipients and owners of all manifests that the stores ever had, with the store's name."""
    found: dict[str | bytes, str] = {}
    for store in stores:
        for manifest in store.authority.manifests.values():
            recipients = {one for keyset in manifest.keysets for one in keyset.recipients}
            found |= dict.fromkeys((*recipients, *manifest.clients), store.name)
            found |= dict.fromkeys((manifest.owner, manifest.next_owner), store.name)
    return found


def _named(node: Node) -> Iterator[Path]:
    """Files that the config names."""
    folder = node.config.file.parent.absolute()
    for section in node.config.sections:
        for text in _texts(section.table):
            if 0 < len(text) < 4096 and text.isprintable():
                yield folder / text


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each)


def _beside(node: Node) -> Iterator[Path]:
    for folder in (node.config.file.parent.absolute(), node.home.state, node.keyring.folder):
        try:
            yield from islice(sorted(folder.iterdir()), MANY)
        except OSError:
            continue


def _in_file(path: Path, known: Mapping[str | bytes, str]) -> set[str]:
    """Names of the stores of which a file holds a private key."""
    try:
        if not path.is_file() or path.stat().st_size > LARGEST:
            return set()
        data = path.read_bytes()
    except (OSError, ValueError):
        return set()
    publics: list[str | bytes] = []
    for found in islice(_IDENTITY.finditer(data), _KEYS):
        publics += _opened(found[0])
    for found in islice(_OWNER.finditer(data), _KEYS):
        publics += _owned(bytes.fromhex(found[0].decode("ascii")))
    return {known[public] for public in publics if public in known}


def _opened(text: bytes) -> Iterator[str]:
    try:
        yield age.parse_identity(text.decode("ascii")).recipient
    except age.AgeError:
        return


def _owned(private: bytes) -> Iterator[bytes]:
    yield owner_public(private)
    yield next_commitment(owner_public(private))
