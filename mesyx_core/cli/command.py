"""What every command has: -c FILE, an example in its help, and --json where it prints a table."""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from mesyx_core.node.progress import Tell

T = TypeVar("T")

DEFAULT = "mesyx.toml"


@dataclass
class Settings:
    """What holds for the whole invocation."""

    config: Path = Path(DEFAULT)
    json: bool = False


def settings() -> Settings:
    """Of the command that is running."""
    return click.get_current_context().find_root().ensure_object(Settings)


def _remember(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    if value is not None and parameter.name is not None and not context.resilient_parsing:
        setattr(context.find_root().ensure_object(Settings), parameter.name, value)


def config_option() -> click.Option:
    """-c FILE, as every command takes it."""
    return click.Option(
        ["-c", "--config"],
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        envvar="MESYX_CONFIG",
        expose_value=False,
        callback=_remember,
        help=f"The node's config; else $MESYX_CONFIG, else ./{DEFAULT}.",
    )


def _json_option() -> click.Option:
    text = "Print JSON instead of text."
    return click.Option(["--json"], is_flag=True, default=None, expose_value=False, callback=_remember, help=text)


class Leaf(click.Command):
    """A command with its example."""

    def __init__(self, *args: Any, example: str = "", table: bool = False, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.example = example
        if table:
            self.params.append(_json_option())
        self.params.append(config_option())

    def format_epilog(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """The example, as it is typed."""
        with formatter.section("Example"):
            for line in self.example.splitlines():
                formatter.write(f"{'':>{formatter.current_indent}}{line}\n")


def command(
    example: str, *, group: click.Group | None = None, name: str | None = None, table: bool = False
) -> Callable[[Callable[..., Any]], Leaf]:
    """Make a function a command, of `group` if given. `table`: it prints one, and so takes --json."""

    def made(function: Callable[..., Any]) -> Leaf:
        leaf = click.command(name, cls=Leaf, example=example, table=table)(function)
        if group is not None:
            group.add_command(leaf)
        return leaf

    return made


def emit(value: Any, render: Callable[[Any], str]) -> None:
    """Print a result for people, or as JSON where that was asked for."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False) if settings().json else render(value))


def printed() -> None:
    """Return once what was printed is out of our hands, and durable where it went into a file. Raises OSError."""
    sys.stdout.flush()
    try:
        handle = sys.stdout.fileno()
    except (OSError, ValueError):  # no file of the system's
        return
    if stat.S_ISREG(os.fstat(handle).st_mode):
        os.fsync(handle)


def ask(verb: str, arguments: Mapping[str, Any] | None = None) -> Any:
    """The result of a control verb: by the running node, else in this process. Progress is shown at a terminal."""
    import anyio

    from mesyx_core.cli.progress import Bar
    from mesyx_core.node import call

    given = {key: value for key, value in (arguments or {}).items() if value is not None}
    path = settings().config.absolute()

    async def answer() -> Any:
        result: Any = None
        with Bar() as bar:
            async for value in call(path, verb, given):
                if "progress" in value:
                    bar.show(value["progress"])
                if "result" in value:
                    result = value["result"]
        return result

    return anyio.run(answer)


def working(work: Callable[[Tell], T]) -> T:
    """What takes long and needs no node, with its progress shown at a terminal."""
    from mesyx_core.cli.progress import Bar

    with Bar() as bar:
        return work(lambda what, done, of=0: bar.show({"what": what, "done": done, "of": of}))


def absolute(path: Path | None) -> str | None:
    """A path as the node can use it, whose working folder is another."""
    return None if path is None else str(path.absolute())
