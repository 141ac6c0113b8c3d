"""What was dropped and purged, and where the entries stand that say something of others."""

import cbor2
import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MARKED = (2, 4, 5, 6, 7)
STEP = 10_000


def upgrade() -> None:
    op.create_table(
        "gone",
        sa.Column("log", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("purged", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("bits", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
    mark = op.create_table(
        "mark",
        sa.Column("key", KEY, primary_key=True, autoincrement=False),
        sa.Column("kind", sa.Integer, nullable=False),
    )
    entry = sa.table("entry", sa.column("key", KEY), sa.column("header", sa.LargeBinary))
    connection, after = op.get_bind(), -1
    while rows := connection.execute(
        sa.select(entry).where(entry.c.key > after).order_by(entry.c.key).limit(STEP)
    ).fetchall():
        after = rows[-1].key
        found = [{"key": key, "kind": kind} for key, header in rows if (kind := cbor2.loads(header)[1]) in MARKED]
        if found:
            connection.execute(sa.insert(mark), found)
