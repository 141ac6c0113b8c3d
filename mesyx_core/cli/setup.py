"""`mesyx init` and `mesyx completion`: what needs no node."""

from __future__ import annotations

import re
from pathlib import Path

import click

from mesyx_core.cli.command import command
from mesyx_core.cli.values import ROLES, Name


def _hostname() -> str:
    import socket

    return re.sub(r"[^A-Za-z0-9_-]", "", socket.gethostname().partition(".")[0]) or "node"


@command("mesyx init /srv/mesyx --name mx1 --role accept --role exchange")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option("--name", type=Name(), default=_hostname, show_default="this machine's", help="What the node is called.")
@click.option(
    "--role",
    "roles",
    type=click.Choice(ROLES),
    multiple=True,
    required=True,
    help="What it offers to do; may be repeated.",
)
def init(folder: Path, name: str, roles: tuple[str, ...]) -> None:
    """Make a new node in DIR: its config, its state folder and its key."""
    from mesyx_core.node.home import create

    file, kept = create(folder, name, roles)
    click.echo(f"{file}: the config; add its listeners there")
    click.echo(
        f"{folder / 'state' / 'node.key'}: the node's key{', which was there already' if kept else ''}; keep it secret"
    )
    click.echo(f"next: mesyx run -c {file}")


@command("mesyx completion bash > ~/.local/share/bash-completion/completions/mesyx")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script that lets SHELL complete mesyx commands."""
    from click.shell_completion import get_completion_class

    root, made = click.get_current_context().find_root().command, get_completion_class(shell)
    assert made is not None
    click.echo(made(root, {}, "mesyx", "_MESYX_COMPLETE").source())
