"""The command line. `--help` and completion import click alone: no plugin, no database, no pydantic."""
