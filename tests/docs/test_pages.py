"""What the docs show is what the code does: Python is cut from tests, TOML is accepted, commands exist."""

from __future__ import annotations

import re
import shlex
import textwrap
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click
import pytest

from mesyx_core.cli.app import root
from mesyx_core.config import parse
from mesyx_core.plugins import Registry

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "HACKING.md",
    *sorted(p for p in (ROOT / "docs").rglob("*.md") if p.parent.name != "reference"),
]
FENCE = re.compile(r"(?:<!-- from (?P<file>\S+): (?P<name>\w+) -->\n)?```(?P<kind>\w*)\n(?P<text>.*?)```", re.DOTALL)
NODE = '[node]\nname = "mx1"\nroles = ["accept"]\n'
PARTED = re.compile(r"""(?:'[^']*'|"[^"]*"|(?!&&)[^;|'"])+""")
"""Commands of one line, parted by `&&`, `;` or `|` outside of quotes."""
OTHER_PLUGINS = {"quiet"}


class Block(NamedTuple):
    page: Path
    line: int
    kind: str
    text: str
    source: tuple[str, str] | None

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(*kinds: str) -> Iterator[Block]:
    for page in PAGES:
        text = page.read_text()
        for found in FENCE.finditer(text):
            if found["kind"] in kinds:
                source = (found["file"], found["name"]) if found["file"] else None
                yield Block(page, text[: found.start()].count("\n") + 1, found["kind"], found["text"], source)


def region(file: str, name: str) -> str:
    """The lines between `# [name]` and `# [/name]`."""
    found = re.search(rf"^ *# \[{name}\]\n(.*?)^ *# \[/{name}\]", (ROOT / file).read_text(), re.DOTALL | re.MULTILINE)
    assert found, f"{file} has no region {name}"
    return textwrap.dedent(found[1]).strip() + "\n"


@pytest.mark.parametrize("block", list(blocks("python")), ids=str)
def test_python_in_the_docs_is_cut_from_a_test(block: Block) -> None:
    assert block.source is not None, "write <!-- from FILE: NAME --> above it"
    assert block.text == region(*block.source)


@pytest.mark.parametrize("block", list(blocks("nginx")), ids=str)
def test_what_other_programs_are_told_is_cut_from_a_test(block: Block) -> None:
    assert block.source is not None, "write <!-- from FILE: NAME --> above it"
    assert block.text == region(*block.source)


@pytest.mark.parametrize("block", list(blocks("toml")), ids=str)
def test_toml_in_the_docs_is_accepted(block: Block, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret\n")
    tables = tomllib.loads(block.text)
    if "project" in tables:
        return
    text = block.text if "node" in tables else NODE + block.text
    text = re.sub(r'(_file = )".*"', rf'\1"{tmp_path / "secret"}"', text)  # it is read with the config
    config = parse(text, Path("mesyx.toml"))
    registry = Registry()
    for section in config.sections:
        if section.use not in OTHER_PLUGINS:
            registry.bind(section)


def commands() -> Iterator[tuple[str, str]]:
    for block in blocks("console", "sh"):
        for line in block.text.replace("\\\n", " ").splitlines():
            command = line.removeprefix("$ ").strip()
            for part in PARTED.findall(command):
                words = shlex.split(part, comments=True)
                if words and Path(words[0]).name == "mesyx":
                    yield str(block), shlex.join(words[1:])


@pytest.mark.parametrize(("where", "line"), list(commands()), ids=str)
def test_commands_in_the_docs_exist(where: str, line: str) -> None:
    arguments = shlex.split(line.partition(" > ")[0])
    command: click.Command = root
    context = click.Context(root, info_name="mesyx")
    while isinstance(command, click.Group):
        assert arguments, f"{where}: {command.name} needs a subcommand"
        _, found, arguments = command.resolve_command(context, arguments)
        assert found is not None
        command = found
    command.make_context(command.name, list(arguments), parent=context)
