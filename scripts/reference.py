"""Writes docs/reference from the code: `python scripts/reference.py`, with all plugins installed.

tests/docs fails when the pages and the code drift apart.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import re
import runpy
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
from pydantic import BaseModel

from mesyx_core import api, testing
from mesyx_core.api import roles
from mesyx_core.api.provider import Hooks
from mesyx_core.cli import exits
from mesyx_core.cli.app import root
from mesyx_core.config import KINDS, NodeConfig, Sending
from mesyx_core.config.refusal import nested
from mesyx_core.config.secret import is_secret
from mesyx_core.plugins import Registry

REFERENCE = Path(__file__).resolve().parent.parent / "docs" / "reference"
NOTE = "<!-- written by scripts/reference.py; change the code and run it again -->"
WIDTH = 96


def pages() -> dict[str, str]:
    """File name to text."""
    return {
        "mesyx.1": man_page(),
        "config.md": config_page(),
        "cli.md": cli_page(),
        "api.md": api_page(),
        "contracts.md": testing_page(),
        "faults.md": faults_page(),
    }


# --- mesyx.toml


def config_page() -> str:
    """Every table and key."""
    parts = [
        "# mesyx.toml",
        NOTE,
        "A node's config is one TOML file: `[node]`, and a table `[KIND.NAME]` for each instance of a plugin. KIND is "
        + ", ".join(f"`{kind}`" for kind in KINDS)
        + ". NAME is free. `use` names the plugin, ENTRYPOINT or ENTRYPOINT.PROVIDER, and defaults to NAME. "
        "A path is relative to the file. Any secret KEY may be given as `KEY_file`, a file whose first line it is.",
        "`mesyx config check` says what is wrong, where, and what to write instead; `mesyx config schema` prints the "
        "JSON schema for editors.",
        "## [node]",
        keys(NodeConfig),
    ]
    for kind, uses in Registry().models().items():
        for use, model in sorted(uses.items()):
            parts += [f"## {kind}: {use}", first_paragraph(model), keys(model)]
        if kind == "egress":
            parts += [
                "## every egress",
                "The queue is the node's: these keys stand beside the plugin's own.",
                keys(Sending),
            ]
    return "\n\n".join(part for part in parts if part) + "\n"


def first_paragraph(model: type[BaseModel]) -> str:
    """What the model says of itself, if it does."""
    own = model.__dict__.get("__doc__") or ""
    return " ".join(own.split("\n\n")[0].split())


def keys(model: type[BaseModel]) -> str:
    """A table of keys; tables inside are written with dots."""
    lines = ["| key | value | default | |", "| --- | --- | --- | --- |"]
    lines += [f"| `{key}` | {kind} | {default} | {text} |" for key, kind, default, text in rows(model)]
    return "\n".join(lines) if len(lines) > 2 else "No keys but `use`."


def rows(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
    """Key, kind of value, default, description."""
    schema = model.model_json_schema()
    for name, field in model.model_fields.items():
        inner, shape = nested(field), schema["properties"][name]
        many = shape.get("type") == "array" or any(each.get("type") == "array" for each in shape.get("anyOf", ()))
        if inner is not None:
            yield from rows(inner, f"{prefix}{name}[]." if many else f"{prefix}{name}.")
            continue
        kind = "secret" if is_secret(field) else value_kind(shape, schema)
        yield prefix + name, kind, default(field.get_default(call_default_factory=True), field), cell(field.description)


def value_kind(shape: dict[str, Any], schema: dict[str, Any]) -> str:
    """What a person may write, in words."""
    if "$ref" in shape:
        return value_kind(schema["$defs"][shape["$ref"].rpartition("/")[2]], schema)
    if "enum" in shape or "const" in shape:
        return " or ".join(f'`"{value}"`' for value in shape.get("enum", [shape.get("const")]))
    if "anyOf" in shape:
        kinds = [value_kind(each, schema) for each in shape["anyOf"] if each.get("type") != "null"]
        return "size" if set(kinds) == {"text", "whole number"} else " or ".join(dict.fromkeys(kinds))
    if shape.get("type") == "array":
        return f"list of {value_kind(shape.get('items', {}), schema)}"
    words = {
        "string": "text",
        "integer": "whole number",
        "number": "number",
        "boolean": "`true` or `false`",
        "object": "table",
    }
    return "path" if shape.get("format") in ("path", "file-path") else words.get(str(shape.get("type")), "value")


def default(value: Any, field: Any) -> str:
    """The default as TOML, "required", or nothing."""
    if field.is_required():
        return "required"
    if is_secret(field):
        value = value.get_secret_value() if value is not None else None
    if value is None or value in ("", [], (), frozenset()):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple | list | set | frozenset):
        texts = list(map(str, value)) if isinstance(value, tuple | list) else sorted(map(str, value))
        return "`[" + ", ".join(f'"{each}"' for each in texts) + "]`"
    if hasattr(value, "human_readable"):
        return f'`"{value.human_readable(separator=" ").replace(".0 ", " ")}"`'
    return f"`{value}`" if type(value) in (int, float) else f'`"{value}"`'


def cell(text: str | None) -> str:
    """Text that fits a table's cell."""
    return " ".join((text or "").split()).replace("|", "\\|")


# --- commands


def cli_page() -> str:
    """Every command with its help, and the exit codes."""
    parts = [
        "# Commands",
        NOTE,
        "Every command takes `-c FILE`; without it `MESYX_CONFIG` counts, then `./mesyx.toml`. With a running node a "
        "command uses the control socket in its state folder; without one it takes the state lock and works itself. "
        "Results go to standard output, progress and errors to standard error. `NO_COLOR` is honoured, and nothing "
        "prompts without a terminal.",
    ]
    for words, command in leaves(root):
        context = click.Context(
            command, info_name=" ".join(["mesyx", *words]), terminal_width=WIDTH, max_content_width=WIDTH
        )
        parts += [f"## mesyx {' '.join(words)}", f"```text\n{command.get_help(context)}\n```"]
    parts += [
        "## Exit codes",
        "\n".join(["| code | |", "| --- | --- |", *(f"| {code} | {text} |" for code, text in exit_codes())]),
    ]
    return "\n\n".join(parts) + "\n"


def man_page() -> str:
    """The same for man(1), with the files and variables that a user meets."""
    lines = [
        f'.\\" {NOTE.strip("<!-> ")}',
        ".TH MESYX 1",
        ".SH NAME",
        r"mesyx \- message exchange: takes in messages, seals each at once, carries them to your own nodes",
        ".SH SYNOPSIS",
        ".B mesyx",
        r".RI [ OPTIONS ]\~ COMMAND\~ [ ARGS ].\|.\|.",
        ".SH DESCRIPTION",
        roff((root.help or "").split("\n\n")[0]),
        ".SH COMMANDS",
    ]
    for words, command in leaves(root):
        lines += [".TP", f".B {roff(usage(words, command))}", *help_paragraphs(command.help or "")]
        for option in command.params:
            if isinstance(option, click.Option) and not option.hidden:
                names, text = option.get_help_record(click.Context(command)) or ("", "")
                lines += [".RS", ".TP", f".B {roff(names)}", roff(text) or "\\&", ".RE"]
        lines += [".RS", ".PP", "Example:", ".nf", roff(getattr(command, "example", "")), ".fi", ".RE"]
    lines += [".SH EXIT STATUS"]
    for code, text in exit_codes():
        lines += [".TP", f".B {code}", roff(text.replace("`", ""))]
    lines += [".SH ENVIRONMENT"]
    for name, text in VARIABLES.items():
        lines += [".TP", f".B {name}", roff(text)]
    lines += [".SH FILES"]
    for name, text in FILES.items():
        lines += [".TP", f".I {name}", roff(text)]
    lines += [".SH SEE ALSO", ".BR age (1),", ".BR systemd.exec (5)"]
    return "\n".join(lines) + "\n"


VARIABLES = {
    "MESYX_CONFIG": "The node's config, where -c is not given.",
    "NO_COLOR": "Set to anything, nothing is printed in colour.",
    "LISTEN_FDS, NOTIFY_SOCKET, WATCHDOG_USEC": "How systemd hands over sockets, and hears of the node.",
    "JOURNAL_STREAM": "Set by systemd: the log is written for its journal.",
}
FILES = {
    "mesyx.toml": "The node's config.",
    "state/node.key": "The node's key. Whoever has it is the node.",
    "state/journal/": "What the node holds: ciphertext.",
    "state/keys/": "A client's private keys, under its stores' passphrases.",
    "state/mailbox/": "A client's index of its mailboxes, encrypted.",
}


def usage(words: Sequence[str], command: click.Command) -> str:
    """The command with its arguments."""
    pieces = command.collect_usage_pieces(click.Context(command))
    return " ".join(["mesyx", *words, *pieces])


def help_paragraphs(text: str) -> Iterator[str]:
    """Of a help text, below its heading."""
    for number, part in enumerate(text.replace("\b\n", "").split("\n\n")):
        if number:
            yield ".IP"
        yield roff(" ".join(part.split()))


def roff(text: str) -> str:
    """Text that man(1) shows as it is."""
    safe = text.strip()
    safe = safe.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    for char, name in {"…": ".\\|.\\|.", "’": "\\(cq"}.items():
        safe = safe.replace(char, name)
    return "\n".join("\\&" + line if line.startswith((".", "\\(aq")) else line for line in safe.splitlines())


def leaves(command: click.Command, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Commands that do something, in the order of --help."""
    if not isinstance(command, click.Group):
        yield words, command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        if found := command.get_command(context, name):
            yield from leaves(found, (*words, name))


def exit_codes() -> Iterator[tuple[int, str]]:
    """Each constant of `mesyx_core.cli.exits` with the docstring below it."""
    body = ast.parse(inspect.getsource(exits)).body
    for node, after in itertools.pairwise(body):
        if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Constant) and isinstance(after, ast.Expr):
            assert isinstance(after.value, ast.Constant)
            yield int(str(node.value.value)), cell(str(after.value.value))


# --- plugin api


def api_page() -> str:
    """Hooks and roles, from their own words."""
    parts = [
        "# The plugin api",
        NOTE,
        "A plugin is a distribution with an entry point in the group `mesyx` that names a module. Hooks declare what "
        "it has; opening a provider gives the object that works. A plugin imports `mesyx_core.api`, `mesyx_core.mime` "
        "and `mesyx_core.wire`, and nothing else of the core.",
        "## Hooks",
        "\n".join(f"* `{name}()`: {one_line(hook)}" for name, hook in vars(Hooks).items() if name.startswith("mesyx_")),
        "## Provider",
        described(api.Provider),
        "## Roles",
    ]
    for name, role in protocols(roles):
        parts += [f"### {name}", described(role)]
    parts += ["## Context", described(api.Context)]
    for name in ("Delivery", "State", "Peer", "Listener", "Tls", "View"):
        parts += [f"### {name}", described(getattr(api, name))]
    return "\n\n".join(parts) + "\n"


def protocols(module: Any) -> Iterator[tuple[str, type]]:
    """Those that a module defines, in its order."""
    for name, kind in vars(module).items():
        if getattr(kind, "_is_protocol", False) and kind.__module__ == module.__name__:
            yield name, kind


def testing_page() -> str:
    """The contract classes: what can be declared, and what a certification has to bring."""
    parts = [
        "# The contracts",
        NOTE,
        "`mesyx_core.testing` has a contract class for each role. A plugin is certified by a subclass that names its "
        "`provider`, its `config` and the `capabilities` that it has. What is declared must hold; what is not declared "
        "must not be claimed. `expected_failures` maps a test that is known to fail to the reason, and it must fail. "
        "The [tutorial](../tutorial/write-a-plugin.md) writes one.",
    ]
    for name, contract in contracts():
        rows = [f"| `{word}` | {cell(text)} |" for word, text in contract.KNOWN.items()]
        parts += [
            f"## {name}",
            paragraphs(contract),
            "\n".join(["| capability | |", "| --- | --- |", *rows]),
            "\n".join(f"* `{name}`: {text}" for name, text in brought(contract)),
            "\n".join(
                f"* {' '.join(test.removeprefix('test_').split('_'))}{gate(f)}" for test, f in contract.tests.items()
            ),
        ]
    return "\n\n".join(part for part in parts if part) + "\n"


def contracts() -> Iterator[tuple[str, type[testing.Contract]]]:
    """The contract classes that are offered, by name."""
    for name in testing.__all__:
        kind = getattr(testing, name)
        if name.endswith("Contract") and kind is not testing.Contract:
            yield name, kind


def brought(contract: type[testing.Contract]) -> Iterator[tuple[str, str]]:
    """Methods that a certification writes."""
    for name in dir(contract):
        method = getattr(contract, name)
        if (wanted := getattr(method, "yours", None)) is not None:
            when = f" (with {', '.join(sorted(wanted))})" if wanted else ""
            yield f"{name}{signature(method)}", f"{one_line(method)}{when}"


def promise(name: str) -> str:
    """A test's name as a sentence."""
    return name.removeprefix("test_").replace("_", " ")


def gate(test: Any) -> str:
    """When a test applies."""
    words = [*sorted(getattr(test, "declared", ())), *(f"not {w}" for w in sorted(getattr(test, "undeclared", ())))]
    return f" *({', '.join(words)})*" if words else ""


# --- the campaign of faults


def faults_page() -> str:
    """The table of faults, with what came of each when all were last tried."""
    table = runpy.run_path(str(REFERENCE.parents[1] / "tests" / "faults" / "table.py"))
    came = table["outcomes"]()
    rows = [
        f"| {cell(f.what)} | {cell(f.where)} | {cell(f.then)} | `{f.id}` {came.get(f.id, 'not run yet')} |"
        for f in table["faults"]()
    ]
    parts = [
        "# Faults",
        NOTE,
        "What goes wrong, where, and what must follow. `nox -s faults` tries each of these, most on real nodes and at "
        "many places; the last column names the fault in `tests/faults.toml` and what came of it when its full "
        "form last ran, and at which commit. Of every fault it also holds that nothing acknowledged is lost, nothing "
        "is there twice, and no traceback is shown.",
        "\n".join(["| fault | where | what must follow | outcome |", "| --- | --- | --- | --- |", *rows]),
    ]
    return "\n\n".join(parts) + "\n"


def described(kind: type) -> str:
    """A class's own words, then its members'."""
    lines = [paragraphs(kind), ""]
    for name, member in vars(kind).items():
        function = member.fget if isinstance(member, property) else member
        if name.startswith("_") or not inspect.isfunction(function):
            continue
        shown = name if isinstance(member, property) else f"{name}{signature(function)}"
        awaited = "await " if inspect.iscoroutinefunction(function) else ""
        lines.append(f"* `{awaited}{shown}`" + (f": {one_line(function)}" if function.__doc__ else ""))
    return "\n".join(lines).rstrip()


def signature(function: Any) -> str:
    """Without self, annotations as they stand in the source."""
    found = inspect.signature(function)
    parameters: Sequence[inspect.Parameter] = [p for p in found.parameters.values() if p.name != "self"]
    return re.sub(r"(: |-> )'([^']*)'", r"\1\2", str(found.replace(parameters=parameters)))


def one_line(thing: Any) -> str:
    """A docstring on one line."""
    return " ".join((inspect.getdoc(thing) or "").split())


def paragraphs(thing: Any) -> str:
    """A docstring with its paragraphs."""
    return inspect.cleandoc(thing.__doc__ or "")


if __name__ == "__main__":
    for file, page in pages().items():
        (REFERENCE / file).write_text(page, encoding="utf-8")
