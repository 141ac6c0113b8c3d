"""Commands that plugins bring: the first word is the plugin's name, and only that plugin is imported."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Literal, get_args, get_origin

import click
from pydantic import JsonValue, ValidationError
from pydantic.fields import FieldInfo

from mesyx_core.api.provider import Command
from mesyx_core.cli.command import Leaf, settings
from mesyx_core.plugins import Registry


def plugin_commands(name: str) -> click.Group | None:
    """The plugin's commands as a tree; None when no plugin of that name has any."""
    found = Registry().commands(name)
    if not found:
        return None
    root = click.Group(name, help=f"Commands of the plugin {name}.")
    for command in found:
        group = root
        for word in command.words[1:-1]:
            inner = group.commands.get(word)
            if not isinstance(inner, click.Group):
                inner = click.Group(word)
                group.add_command(inner)
            group = inner
        group.add_command(_leaf(command))
    return root


def _leaf(command: Command) -> click.Command:
    def run(**values: Any) -> int:
        given = {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
        try:
            arguments = command.arguments.model_validate({k: v for k, v in given.items() if v is not None})
        except ValidationError as error:
            raise click.UsageError(_first(error)) from None
        import anyio

        return anyio.run(command.run, arguments, Running())

    parameters: list[click.Parameter] = [_option(name, field) for name, field in command.arguments.model_fields.items()]
    example = f"mesyx {' '.join(command.words)}"
    return Leaf(command.words[-1], callback=run, params=parameters, help=command.help, example=example)


def _option(name: str, field: FieldInfo) -> click.Option:
    kind, many = field.annotation, False
    if get_origin(kind) in (list, tuple, set, frozenset):
        kind, many = (get_args(kind) or (str,))[0], True
    flag = f"--{name.replace('_', '-')}"
    common: dict[str, Any] = {"help": field.description, "required": field.is_required()}
    if kind is bool:
        return click.Option([f"{flag}/--no-{flag[2:]}", name], default=None, **common)
    choice = click.Choice(get_args(kind)) if get_origin(kind) is Literal else str
    return click.Option([flag, name], type=choice, multiple=many, default=None, **common)


def _first(error: ValidationError) -> str:
    detail = error.errors(include_url=False, include_input=False)[0]
    return f"--{'.'.join(map(str, detail['loc'])).replace('_', '-')}: {detail['msg']}"


class Running:
    """`api.Control` on the running node."""

    def call(self, instance: str, verb: str, value: JsonValue) -> AsyncIterator[JsonValue]:
        """Values that the instance answers, as they come."""
        return self._values({"instance": instance, "verb": verb, "value": value})

    async def _values(self, arguments: dict[str, JsonValue]) -> AsyncIterator[JsonValue]:
        from mesyx_core.node import call

        async for answer in call(settings().config.absolute(), "plugin.call", arguments):
            if "value" in answer:
                yield answer["value"]
