"""What people call a store's nodes and keysets, its keyset policy, and which private keys each client holds.

It stands in the manifest as an age file to the client recipients: other members learn no names and no policy. Inside
is versioned CBOR: [1, nodes, keysets, policy, ahead].
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple, TypeAlias, cast, get_args

from . import age
from .encoding import EncodingError, decode, encode
from .manifest import LONGEST_NAMES, MOST_KEYSETS, MOST_MEMBERS
from .nodekey import is_public_key
from .policy import LONGEST, MOST_AHEAD

VERSION: Final = 1
LONGEST_NAME: Final = 64
AHEAD: Final = 8
"""Future periods that a store publishes unless it says otherwise."""

Keys: TypeAlias = Literal["all", "short", "none"]
"""Which private keys a client may hold: its own and all of keysets, those of keysets that end, or none."""

_LATEST: Final = (1 << 53) - 1


class NamesError(ValueError):
    """Names that are malformed, too long, or that no identity at hand opens."""


class NodeName(NamedTuple):
    """Of a member."""

    name: str = ""
    keys: Keys = "none"


class KeysetName(NamedTuple):
    """Of a keyset."""

    name: str = ""
    expires: int | None = None
    """Unix seconds from which its short-term key is due to be re-sealed and destroyed; None never."""
    by_policy: bool = False
    """Whether the policy asked for it, or a person made it apart."""


@dataclass(frozen=True)
class Names:
    """Frozen; `with_…` give another."""

    nodes: Mapping[bytes, NodeName] = field(default_factory=lambda: MappingProxyType({}))
    """By public key."""
    keysets: Mapping[bytes, KeysetName] = field(default_factory=lambda: MappingProxyType({}))
    """By id."""
    policy: str = ""
    """As `policy.parse` reads it; empty for none."""
    ahead: int = AHEAD

    def node(self, node: bytes) -> NodeName:
        """Of a node that was never named: no name, and no keys."""
        return self.nodes.get(node, NodeName())

    def keyset(self, id: bytes) -> KeysetName:
        """Of a keyset that was never named: no name, kept for ever."""
        return self.keysets.get(id, KeysetName())

    def with_node(self, node: bytes, name: str | None = None, keys: Keys | None = None) -> Names:
        """With another name or other keys of a node; None leaves them."""
        known = self.node(node)
        fresh = NodeName(known.name if name is None else name, known.keys if keys is None else keys)
        return replace(self, nodes=MappingProxyType({**self.nodes, node: fresh}))

    def with_keysets(self, keysets: Mapping[bytes, KeysetName]) -> Names:
        """With these keysets named so; others stay."""
        return replace(self, keysets=MappingProxyType({**self.keysets, **keysets}))

    def only(self, nodes: Iterable[bytes], keysets: Iterable[bytes]) -> Names:
        """Without what is neither among these nodes nor these keysets."""
        nodes, keysets = set(nodes), set(keysets)
        return replace(
            self,
            nodes=MappingProxyType({node: name for node, name in self.nodes.items() if node in nodes}),
            keysets=MappingProxyType({id: name for id, name in self.keysets.items() if id in keysets}),
        )


def seal(names: Names, clients: Sequence[str]) -> bytes:
    """What stands in a manifest with these client recipients. Raises NamesError when it is too long for that."""
    file = age.encrypt(encode_names(names), clients)
    if len(file) > LONGEST_NAMES:
        raise NamesError("too many names for one manifest")
    return file


def open_(file: bytes, identities: Sequence[age.Identity]) -> Names:
    """The names in a manifest; none where it has none. Raises NamesError."""
    if not file:
        return Names()
    try:
        return decode_names(age.decrypt(file, identities))
    except age.AgeError:
        raise NamesError("no key at hand opens the store's names") from None


def encode_names(names: Names) -> bytes:
    """Raises NamesError for what would not be read back."""
    value = [
        VERSION,
        [[node, *name] for node, name in sorted(names.nodes.items())],
        [[id, *name] for id, name in sorted(names.keysets.items())],
        names.policy,
        names.ahead,
    ]
    _read(value)
    return encode(value)


def decode_names(data: bytes) -> Names:
    """Raises NamesError for anything but what `encode_names` gives."""
    try:
        value = decode(data, limit=LONGEST_NAMES, depth=3)
    except EncodingError:
        raise NamesError("not the names of a store") from None
    names = _read(value)
    if encode_names(names) != data:
        raise NamesError("not in their one form")
    return names


def _read(value: Any) -> Names:
    match value:
        case [int(version), list(nodes), list(keysets), str(policy), int(ahead)]:
            _require(version == VERSION, "names of a later version")
        case _:
            raise NamesError("not the names of a store")
    _require(len(nodes) <= MOST_MEMBERS and len(keysets) <= MOST_KEYSETS, "too many names")
    _require(len(policy) <= LONGEST and policy.isascii(), "not a policy")
    _require(type(ahead) is int and 0 <= ahead <= MOST_AHEAD, "too many periods ahead")
    return Names(
        MappingProxyType(dict(map(_node, nodes))), MappingProxyType(dict(map(_keyset, keysets))), policy, ahead
    )


def _node(value: Any) -> tuple[bytes, NodeName]:
    match value:
        case [bytes(node), str(name), str(keys)] if is_public_key(node) and keys in get_args(Keys):
            return node, NodeName(_name(name), cast(Keys, keys))
    raise NamesError("not a node's name")


def _keyset(value: Any) -> tuple[bytes, KeysetName]:
    match value:
        case [bytes(id), str(name), (None | int()) as expires, bool(by_policy)] if len(id) == 32:
            _require(expires is None or (type(expires) is int and 0 <= expires <= _LATEST), "not a time")
            return id, KeysetName(_name(name), expires, by_policy)
    raise NamesError("not a keyset's name")


def _name(name: str) -> str:
    _require(len(name) <= LONGEST_NAME and (name.isprintable() or not name), "not a name")
    return name


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise NamesError(otherwise)
