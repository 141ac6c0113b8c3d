"""The journal's tables. An entry's key is log number and entry number in one integer, so that a log lies together."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, Text, UniqueConstraint, text
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from mesyx_core.record.entry import Kind

# SQLite keeps a table in order of its key only if that is called INTEGER.
_KEY: Final = BigInteger().with_variant(Integer(), "sqlite")
SHIFT: Final = 40
"""An entry's key is log number << SHIFT | entry number."""

MARKED: Final = frozenset((Kind.EPOCH, Kind.CLOSE, Kind.RESEAL, Kind.PURGE, Kind.VETO))

METADATA: Final = MetaData()


class _Table(SQLModel, registry=registry(metadata=METADATA)):
    pass


class StoreTable(_Table, table=True):
    """A store that this node holds."""

    __tablename__ = "store"

    number: int = Field(sa_column=Column(_KEY, primary_key=True, autoincrement=False))
    id: bytes = Field(sa_column=Column(LargeBinary, nullable=False, unique=True))
    name: str = Field(sa_column=Column(Text, nullable=False))


class ManifestTable(_Table, table=True):
    """A manifest's signed document."""

    __tablename__ = "manifest"
    __table_args__ = (UniqueConstraint("store", "hash"),)

    number: int = Field(sa_column=Column(_KEY, primary_key=True, autoincrement=True))
    store: int = Field(sa_column=Column(BigInteger, nullable=False))
    hash: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    document: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class LogTable(_Table, table=True):
    """A log and how far it is held."""

    __tablename__ = "log"
    __table_args__ = (UniqueConstraint("store", "node", "incarnation"),)

    number: int = Field(sa_column=Column(_KEY, primary_key=True, autoincrement=False))
    store: int = Field(sa_column=Column(BigInteger, nullable=False))
    node: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    incarnation: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    seq: int = Field(sa_column=Column(BigInteger, nullable=False))
    chain: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    ended: int = Field(sa_column=Column(Integer, nullable=False))
    """1 once the end entry is held."""
    proved: int = Field(sa_column=Column(BigInteger, nullable=False))
    """The checkpoint's number."""
    closed: int = Field(sa_column=Column(BigInteger, nullable=False))
    """The number at which a later start entry of the node named it, else 0."""
    weight: int = Field(sa_column=Column(BigInteger, nullable=False))
    """Bytes of its entries and blobs."""
    checkpoint: bytes | None = Field(sa_column=Column(LargeBinary, nullable=True))


class EntryTable(_Table, table=True):
    """An entry."""

    __tablename__ = "entry"
    __table_args__ = (
        Index(
            "entry_missing",
            "key",
            sqlite_where=text("payload IS NULL"),
            postgresql_where=text("payload IS NULL"),
        ),
    )

    key: int = Field(sa_column=Column(_KEY, primary_key=True, autoincrement=False))
    header: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    payload: bytes | None = Field(sa_column=Column(LargeBinary, nullable=True))


class BlobTable(_Table, table=True):
    """A blob that an entry refers to."""

    __tablename__ = "blob"
    __table_args__ = (
        Index("blob_lacking", "key", sqlite_where=text("held = 0"), postgresql_where=text("held = 0")),
        {"sqlite_with_rowid": False},
    )

    hash: bytes = Field(sa_column=Column(LargeBinary, primary_key=True))
    key: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    size: int = Field(sa_column=Column(BigInteger, nullable=False))
    held: int = Field(sa_column=Column(Integer, nullable=False))


class MarkTable(_Table, table=True):
    """An entry that says something of others: of a kind in `MARKED`. Found without reading what lies between."""

    __tablename__ = "mark"

    key: int = Field(sa_column=Column(_KEY, primary_key=True, autoincrement=False))
    kind: int = Field(sa_column=Column(Integer, nullable=False))


class GoneTable(_Table, table=True):
    """Which of a log's payloads are gone for good: a bit for each entry, compressed."""

    __tablename__ = "gone"
    __table_args__ = ({"sqlite_with_rowid": False},)

    log: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    purged: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    """1 for what is to be gone everywhere; 0 for what only this node has dropped."""
    bits: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class RowTable(_Table, table=True):
    """One of the node's own values, sealed by whoever put it."""

    __tablename__ = "row"
    __table_args__ = ({"sqlite_with_rowid": False},)

    space: str = Field(sa_column=Column(Text, primary_key=True))
    key: str = Field(sa_column=Column(Text, primary_key=True))
    value: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


STORE: Final = METADATA.tables["store"]
MANIFEST: Final = METADATA.tables["manifest"]
LOG: Final = METADATA.tables["log"]
ENTRY: Final = METADATA.tables["entry"]
BLOB: Final = METADATA.tables["blob"]
MARK: Final = METADATA.tables["mark"]
GONE: Final = METADATA.tables["gone"]
ROW: Final = METADATA.tables["row"]
