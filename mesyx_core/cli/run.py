"""`mesyx run`, `reload` and `demo`: nodes at work."""

from __future__ import annotations

from pathlib import Path

import click

from mesyx_core.cli.command import ask, command, settings

PASSPHRASE = click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="File whose first line is the passphrase.",
)
OWNER_KEY = click.option(
    "--owner-key",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The owner key, where it is kept apart.",
)


@command("mesyx run -c /srv/mesyx/mesyx.toml --passphrase-file /run/credentials/mesyx")
@PASSPHRASE
@OWNER_KEY
def run(passphrase_file: Path | None, owner_key: Path | None) -> None:
    """Run the node until SIGTERM or Ctrl-C.

    Prints `ready` on a line of its own when every listener is bound. Without a passphrase a client's stores start
    locked; `mesyx store unlock` opens them. SIGHUP restarts the instances whose config changed.
    """
    from mesyx_core.node import run as run_node

    run_node(settings().config.absolute(), passphrase_file, owner_key)


@command("mesyx reload")
def reload() -> None:
    """Have the running node read its config again; only instances that changed are restarted."""
    from mesyx_core.cli.show import nested

    click.echo(nested(ask("reload")))


@command("mesyx demo --once")
@click.option("--once", is_flag=True, help="Send one message through, show it as read, and stop.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep the demo's nodes there; else in a temporary folder.",
)
def demo(once: bool, folder: Path | None) -> int:
    """Run a whole cluster on this machine: a gateway that cannot read, a client that can, and a real message."""
    from mesyx_core.cli.demo import run as run_demo

    return int(run_demo(once, folder))
