"""`mesyx config`: what mesyx.toml says, whether it can be run, and what it may say."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mesyx_core.cli.command import command, emit, settings
from mesyx_core.cli.show import harmless

if TYPE_CHECKING:
    from mesyx_core.plugins import Instance


@click.group()
def config() -> None:
    """Check and explain mesyx.toml."""


@command("mesyx config check -c /srv/mesyx/mesyx.toml", group=config)
def check() -> None:
    """Check the config and every plugin it names. Exit code 3 when it cannot be run; warnings alone are 0."""
    from mesyx_core.config import load
    from mesyx_core.plugins import Registry

    found = load(settings().config)
    instances = Registry().bind_all(found)
    warnings = found.warnings() + [w for i in instances for w in i.section.warnings(i.provider.config)]
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
    click.echo(f"{found.file}: {found.node.name} can be run with {len(instances)} instances")


@command("mesyx config schema > mesyx.schema.json", group=config)
def schema() -> None:
    """Print the JSON schema of mesyx.toml with all installed plugins, for editors."""
    from mesyx_core.config import json_schema
    from mesyx_core.plugins import Registry

    click.echo(json.dumps(json_schema(Registry().models()), indent=2, ensure_ascii=False))


@command("mesyx config show", group=config, table=True)
def show() -> None:
    """Print the config as it is understood: every key with its value or default, without secrets."""
    from mesyx_core.config import load
    from mesyx_core.plugins import Registry

    found = load(settings().config)
    tables = {"node": found.node.model_dump(mode="json")}
    if found.node.database.get_secret_value() == "sqlite":
        tables["node"]["database"] = "sqlite"  # only a URL is secret
    for instance in Registry().bind_all(found):
        tables[instance.section.path] = _instance(instance)
    emit(tables, _toml)


@command("mesyx config units --user mesyx --dir /etc/systemd/system -c /srv/mesyx/mesyx.toml", group=config)
@click.option("--user", default="mesyx", show_default=True, help="The user that the node runs as; owns its folder.")
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    metavar="DIR",
    help="Write the files there; else they are printed.",
)
@click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The passphrase of a client's stores, handed to the service alone, as a credential.",
)
@click.option(
    "--writable",
    multiple=True,
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="A folder that the service may write to besides its state, for `mesyx backup`; may be repeated.",
)
def units(user: str, folder: Path | None, passphrase_file: Path | None, writable: tuple[Path, ...]) -> None:
    """Print systemd units for this node: a hardened service, and a socket unit for its ports.

    systemd binds the ports, so the node never runs as root, not even for port 25. After a change of a `listen`, make
    the units again.
    """
    from mesyx_core.config import load
    from mesyx_core.config.units import units as made

    files = made(load(settings().config), _itself(), user, passphrase_file, writable)
    for name, text in files.items():
        if folder is None:
            click.echo(f"# --- {name}\n{text}")
        else:
            _write(folder / name, text)
            click.echo(f"{folder / name}")
    if folder is not None:
        click.echo(f"next: systemctl daemon-reload && systemctl enable --now {' '.join(reversed([*files]))}")


def _itself() -> Path:
    """This program, as another user finds it."""
    return Path(shutil.which("mesyx", path=str(Path(sys.executable).parent)) or shutil.which("mesyx") or sys.argv[0])


def _write(path: Path, text: str) -> None:
    from mesyx_core.api.errors import Refused

    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise Refused(
            f"{path}: cannot be written ({error.strerror})", "run this as root, or name another --dir"
        ) from None


def _instance(instance: Instance) -> dict[str, Any]:
    return {"use": instance.section.use} | instance.config.model_dump(mode="json")


def _toml(tables: dict[str, dict[str, Any]]) -> str:
    return "\n\n".join("\n".join([f"[{name}]", *_lines(table)]) for name, table in tables.items())


def _lines(table: dict[str, Any], prefix: str = "") -> list[str]:
    lines: list[str] = []
    for key, value in table.items():
        if isinstance(value, dict):
            lines += _lines(value, f"{prefix}{key}.")
        elif value is None:
            lines.append(f"# {prefix}{key} is not set")
        else:
            lines.append(f"{prefix}{key} = {_value(value)}")
    return lines


def _value(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_value(each)}" for key, each in value.items() if each is not None) + " }"
    return harmless(json.dumps(value, ensure_ascii=False))
