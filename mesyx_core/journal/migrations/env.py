"""Run by Alembic, on the connection that `mesyx_core.journal.migrate` gives it."""

from alembic import context

from mesyx_core.journal.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    render_as_batch=True,
    transactional_ddl=False,  # `migrate` holds the transaction
)
context.run_migrations()
