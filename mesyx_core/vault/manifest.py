"""The manifest: the owner-signed document that says who belongs to a store and may do what (section 3, Authority).

A document is the CBOR array [version, body, signature]; the body is a CBOR array too. The manifest's hash, the store
id (the first manifest's hash under a label of its own) and the signature cover version and body.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from . import labels
from .encoding import decode, digest, encode, labelled
from .keyset import Keyset
from .nodekey import is_public_key, verify

VERSION: Final = 1
LIMIT: Final = 1 << 20
"""Most bytes of a document."""
ROLES: Final = frozenset(("accept", "exchange", "client", "reencrypt"))
GRACE: Final = 7 * 86_400
"""Seconds between a purge and the loss of the ciphertext, unless the store says otherwise."""

MOST_PARENTS: Final = 16
MOST_MEMBERS: Final = 256
MOST_KEYSETS: Final = 4_096
MOST_CUTS: Final = 16_384
MOST_TEXTS: Final = 256
LONGEST_TEXT: Final = 512
LONGEST_NAMES: Final = 1 << 18

_HASH: Final = 32
_INCARNATION: Final = 16
_LATEST: Final = (1 << 63) - 1


class ManifestError(ValueError):
    """A manifest that is malformed, not signed by its owner, or does not follow from those known."""


@dataclass(frozen=True)
class Member:
    """A node of the store and what it may do."""

    node: bytes
    """Ed25519 public key."""
    recipient: str
    """What is sealed for this node itself."""
    roles: frozenset[str] = frozenset()
    """Some of accept, exchange, client, reencrypt."""
    rights: frozenset[str] = frozenset()
    addresses: tuple[str, ...] = ()
    """Mail addresses that its operator granted to this store."""
    dial: tuple[str, ...] = ()
    """Transport URLs at which it can be reached, best first."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "addresses", tuple(sorted(set(self.addresses))))
        object.__setattr__(self, "dial", tuple(dict.fromkeys(self.dial)))
        _require(is_public_key(self.node), "a member is named by its Ed25519 public key")
        _require(isinstance(self.recipient, str), "a member has a recipient")
        _require(self.roles <= ROLES, "a role is accept, exchange, client or reencrypt")
        for texts in (self.rights, self.addresses, self.dial):
            _check_texts(texts)


class Cut(NamedTuple):
    """The last entry of an origin that counts; what lies beyond is kept aside and shown."""

    node: bytes
    incarnation: bytes
    seq: int
    chain: bytes


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """One version of a store's authority. Members, keysets, clients and cuts are sets: their order is not kept."""

    owner: bytes
    """Ed25519 public key that signs this manifest."""
    next_owner: bytes
    """Commitment (`next_commitment`) to the only key that can succeed the owner."""
    number: int = 1
    """One more than the highest parent's."""
    parents: tuple[bytes, ...] = ()
    """Hashes of all manifests that this one follows; none for the first."""
    first: bytes = b""
    """The store id; empty in the first manifest, whose hash it is."""
    time: int = 0
    """Unix seconds; for people, decides nothing."""
    members: tuple[Member, ...] = ()
    keysets: tuple[Keyset, ...] = ()
    closed: frozenset[bytes] = frozenset()
    """Ids of keysets that are never sealed to again."""
    clients: tuple[str, ...] = ()
    """Recipients that ops and snapshots are sealed to."""
    cuts: tuple[Cut, ...] = ()
    names: bytes = b""
    """Age file to the client recipients with names for people; may be empty."""
    grace: int = GRACE
    """Seconds between a purge and the loss of the ciphertext."""
    merged: tuple[bytes, ...] = field(default=(), compare=False)
    """Of a view of several heads, their hashes; empty for a manifest that was or can be signed."""

    def __post_init__(self) -> None:
        self._set("parents", sorted(set(self.parents)))
        self._set("members", sorted(self.members, key=_node))
        self._set("keysets", sorted({keyset.id: keyset for keyset in self.keysets}.values(), key=_id))
        self._set("clients", sorted(set(self.clients)))
        self._set("cuts", sorted(set(self.cuts)))
        self._check_lineage()
        if not self.merged:
            self._check_content()

    def _set(self, name: str, values: Iterable[Any]) -> None:
        object.__setattr__(self, name, tuple(values))

    def _check_lineage(self) -> None:
        _require(is_public_key(self.owner), "the owner is an Ed25519 public key")
        _require(len(self.next_owner) == _HASH, "a commitment has 32 bytes")
        _require(self.next_owner != next_commitment(self.owner), "the next owner key is another key")
        _require(len(self.parents) <= MOST_PARENTS and all(map(_is_hash, self.parents)), "parents are hashes")
        if self.parents:
            _require(1 < self.number <= _LATEST and _is_hash(self.first), "a later manifest names store and number")
        else:
            _require(self.number == 1 and self.first == b"", "the first manifest has number 1 and names no store")

    def _check_content(self) -> None:
        _require(0 <= self.time <= _LATEST and 0 <= self.grace <= _LATEST, "times are not negative")
        _require(len(self.members) <= MOST_MEMBERS, "too many members")
        _require(len({member.node for member in self.members}) == len(self.members), "a member twice")
        _require(max(len(self.keysets), len(self.closed)) <= MOST_KEYSETS, "too many keysets")
        _require(all(map(_is_hash, self.closed)), "keysets are closed by id")
        _require(len(self.clients) <= MOST_TEXTS, "too many clients")
        _require(len(self.cuts) <= MOST_CUTS and all(map(_is_cut, self.cuts)), "a cut is malformed")
        _require(len(self.names) <= LONGEST_NAMES, "names are too long")

    @cached_property
    def hash(self) -> bytes:
        """Its hash, 32 bytes; of a merged view, the highest of its heads, which is what checkpoints cite."""
        return max(self.merged) if self.merged else digest(labels.MANIFEST, VERSION, _body(self))

    @cached_property
    def store(self) -> bytes:
        """The id of the store that it belongs to, 32 bytes."""
        return self.first or digest(labels.STORE, VERSION, _body(self))

    def member(self, node: bytes) -> Member | None:
        """The member with this public key."""
        return next((member for member in self.members if member.node == node), None)


def owner_public(private: bytes) -> bytes:
    """The public half of an owner key, 32 bytes."""
    return Ed25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def next_commitment(public: bytes) -> bytes:
    """What a manifest shows of the next owner key before its time, 32 bytes."""
    return digest(labels.OWNER, public)


def sign(manifest: Manifest, owner_private: bytes) -> bytes:
    """The signed document; ManifestError if this is not the private key of its owner."""
    key = Ed25519PrivateKey.from_private_bytes(owner_private)
    _require(key.public_key().public_bytes_raw() == manifest.owner, "not the owner's key")
    _require(not manifest.merged, "a view of several manifests is not signed; sign a child of them")
    body = _body(manifest)
    document = encode((VERSION, body, key.sign(labelled(labels.MANIFEST, VERSION, body))))
    # Signs nothing that others would refuse to read.
    if parse(document) != manifest:
        raise ManifestError("not a manifest")
    return document


def unsigned(manifest: Manifest) -> bytes:
    """What a document of it is without its signature: to be signed where the owner key is."""
    return encode((VERSION, _body(manifest)))


def parse_unsigned(data: bytes, limit: int = LIMIT) -> Manifest:
    """The manifest that nobody has signed yet; ManifestError."""
    try:
        version, body = decode(data, limit=limit, depth=1)
    except (TypeError, ValueError):
        raise ManifestError("not a manifest") from None
    return _manifest(version, body, limit)


def parse(document: bytes, limit: int = LIMIT) -> Manifest:
    """The manifest in a signed document, its signature checked against the owner that it names; ManifestError."""
    try:
        version, body, signature = decode(document, limit=limit, depth=1)
    except (TypeError, ValueError):
        raise ManifestError("not a manifest") from None
    _require(type(signature) is bytes, "not a manifest")
    manifest = _manifest(version, body, limit)
    _require(verify(manifest.owner, signature, labels.MANIFEST, VERSION, body), "not signed by its owner")
    return manifest


def _manifest(version: Any, body: Any, limit: int) -> Manifest:
    try:
        _require(version == VERSION and type(body) is bytes, "of an unknown version")
        manifest = _read(decode(body, limit=limit, depth=4))
        if _body(manifest) != body:
            raise ManifestError("not in its one form")
    except ManifestError:
        raise
    except (TypeError, ValueError, AttributeError, LookupError, OverflowError):
        raise ManifestError("not a manifest") from None
    return manifest


def _body(manifest: Manifest) -> bytes:
    # Recipients stand in one table: long-term ones are in every keyset, and a hybrid one has 1,959 characters.
    used = {member.recipient for member in manifest.members}
    used.update(manifest.clients, *(keyset.recipients for keyset in manifest.keysets))
    table = sorted(used)
    place = {recipient: at for at, recipient in enumerate(table)}
    return encode(
        (
            manifest.first,
            manifest.owner,
            manifest.next_owner,
            manifest.number,
            manifest.parents,
            manifest.time,
            table,
            [_member_values(member, place) for member in manifest.members],
            [_keyset_values(keyset, place) for keyset in manifest.keysets],
            sorted(manifest.closed),
            [place[client] for client in manifest.clients],
            [tuple(cut) for cut in manifest.cuts],
            manifest.names,
            manifest.grace,
        )
    )


def _member_values(member: Member, place: dict[str, int]) -> list[Any]:
    roles, rights = sorted(member.roles), sorted(member.rights)
    return [member.node, place[member.recipient], roles, rights, member.addresses, member.dial]


def _keyset_values(keyset: Keyset, place: dict[str, int]) -> list[Any]:
    recipients, *rest = keyset.values()
    return [[place[recipient] for recipient in recipients], *rest]


def _read(values: Any) -> Manifest:
    first, owner, following, number, parents, time, table, members, keysets, closed, clients, cuts, names, grace = (
        values
    )
    recipient = _lookup(_typed(table, list))
    return Manifest(
        owner=_typed(owner, bytes),
        next_owner=_typed(following, bytes),
        number=_typed(number, int),
        parents=tuple(parents),
        first=_typed(first, bytes),
        time=_typed(time, int),
        members=tuple(_read_member(member, recipient) for member in members),
        keysets=tuple(
            Keyset.of([[recipient(place) for place in places], *rest]) for places, *rest in _bounded(keysets)
        ),
        closed=frozenset(closed),
        clients=tuple(recipient(place) for place in clients),
        cuts=tuple(Cut(*cut) for cut in cuts),
        names=_typed(names, bytes),
        grace=_typed(grace, int),
    )


def _read_member(values: Any, recipient: Callable[[Any], str]) -> Member:
    node, place, roles, rights, addresses, dial = values
    return Member(
        node=_typed(node, bytes),
        recipient=recipient(place),
        roles=frozenset(roles),
        rights=frozenset(rights),
        addresses=tuple(addresses),
        dial=tuple(dial),
    )


def _lookup(table: Any) -> Callable[[Any], str]:
    def recipient(place: Any) -> str:
        if type(place) is not int or place < 0:
            raise ManifestError("not a recipient")
        text = table[place]
        if type(text) is not str:
            raise ManifestError("not a recipient")
        return text

    return recipient


def _bounded(keysets: Any) -> Any:
    _require(len(keysets) <= MOST_KEYSETS, "too many keysets")
    return keysets


def _typed(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise ManifestError("a value of the wrong type")
    return value


def _check_texts(texts: Iterable[Any]) -> None:
    values = list(texts)
    _require(len(values) <= MOST_TEXTS, "too many values")
    for text in values:
        _require(type(text) is str and 0 < len(text) <= LONGEST_TEXT and text.isprintable(), "not a printable text")


def _is_hash(value: Any) -> bool:
    return type(value) is bytes and len(value) == _HASH


def _is_cut(cut: Cut) -> bool:
    return (
        is_public_key(cut.node)
        and type(cut.incarnation) is bytes
        and len(cut.incarnation) == _INCARNATION
        and type(cut.seq) is int
        and 0 <= cut.seq <= _LATEST
        and _is_hash(cut.chain)
    )


def _node(member: Member) -> bytes:
    return member.node


def _id(keyset: Keyset) -> bytes:
    return keyset.id


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ManifestError(otherwise)
