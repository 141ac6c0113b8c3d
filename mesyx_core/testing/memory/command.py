"""A command for tests: asks the post office how many letters it took in."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from mesyx_core.api import Command, Control


class CountArguments(BaseModel):
    """`mesyx office count`"""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    instance: str = "office"
    """The ingress to ask."""


async def count(arguments: CountArguments, control: Control) -> int:
    """Prints the answer."""
    async for answer in control.call(arguments.instance, "count", None):
        print(answer)
    return 0


def command() -> Command:
    """`mesyx office count`"""
    return Command(words=("office", "count"), help="How many letters came in.", arguments=CountArguments, run=count)
