"""Bring an older schema up to date with Alembic; imported only then."""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from mesyx_core.journal.errors import Unreadable

MIGRATIONS: Final = Path(__file__).parent / "migrations"

log = logging.getLogger(__name__)


def upgrade(connection: Connection, to: str = "head") -> None:
    """Run the migrations between the schema that is there and `to`, in one transaction: all of them or none. Raises
    Unreadable for a schema that no migration begins with."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    log.info("the journal was made by an earlier version of Mesyx: it is brought up to date, which may take a while")
    connection.exec_driver_sql("BEGIN")
    try:
        command.upgrade(config, to)
        connection.exec_driver_sql("COMMIT")
    except BaseException as error:
        with suppress(SQLAlchemyError):  # a full disk has ended the transaction already
            connection.exec_driver_sql("ROLLBACK")
        if isinstance(error, CommandError):
            raise Unreadable(
                "the journal's schema is one that no version of Mesyx has made", "restore it from a backup"
            ) from None
        raise
    log.info("the journal is up to date")
