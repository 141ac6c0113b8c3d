"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "store",
        sa.Column("number", KEY, primary_key=True, autoincrement=False),
        sa.Column("id", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("name", sa.Text, nullable=False),
    )
    op.create_table(
        "manifest",
        sa.Column("number", KEY, primary_key=True, autoincrement=True),
        sa.Column("store", sa.BigInteger, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.Column("document", sa.LargeBinary, nullable=False),
        sa.UniqueConstraint("store", "hash"),
    )
    op.create_table(
        "log",
        sa.Column("number", KEY, primary_key=True, autoincrement=False),
        sa.Column("store", sa.BigInteger, nullable=False),
        sa.Column("node", sa.LargeBinary, nullable=False),
        sa.Column("incarnation", sa.LargeBinary, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("chain", sa.LargeBinary, nullable=False),
        sa.Column("ended", sa.Integer, nullable=False),
        sa.Column("proved", sa.BigInteger, nullable=False),
        sa.Column("closed", sa.BigInteger, nullable=False),
        sa.Column("weight", sa.BigInteger, nullable=False),
        sa.Column("checkpoint", sa.LargeBinary, nullable=True),
        sa.UniqueConstraint("store", "node", "incarnation"),
    )
    op.create_table(
        "entry",
        sa.Column("key", KEY, primary_key=True, autoincrement=False),
        sa.Column("header", sa.LargeBinary, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=True),
    )
    missing = sa.text("payload IS NULL")
    op.create_index("entry_missing", "entry", ["key"], sqlite_where=missing, postgresql_where=missing)
    op.create_table(
        "blob",
        sa.Column("hash", sa.LargeBinary, primary_key=True),
        sa.Column("key", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("held", sa.Integer, nullable=False),
        sqlite_with_rowid=False,
    )
    lacking = sa.text("held = 0")
    op.create_index("blob_lacking", "blob", ["key"], sqlite_where=lacking, postgresql_where=lacking)
    op.create_table(
        "row",
        sa.Column("space", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("value", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
