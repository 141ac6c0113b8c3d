"""Keys that every [egress.NAME] has beside its plugin's own: the queue is the node's, whatever the network."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from mesyx_core.config.duration import Duration


class Sending(BaseModel):
    """When what an egress could not send is tried again."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True)

    retry: Annotated[
        tuple[Duration, ...], Field(min_length=1, max_length=64, examples=[["5m", "15m", "30m", "1h"]])
    ] = (
        Duration(300),
        Duration(900),
        Duration(1800),
        Duration(3600),
        Duration(7200),
    )
    """Pauses after the first attempt, the second …; the last one holds from then on. A network that asks for a longer
    one gets it."""
    give_up: Annotated[Duration, Field(examples=["5d"])] = Duration(432_000)
    """How long after it came here a message has failed, unless its sender set an earlier time. A gateway keeps the key
    of a message's day for five days after that day, so more has no effect."""

    @field_validator("retry")
    @classmethod
    def _not_at_once(cls, value: tuple[Duration, ...]) -> tuple[Duration, ...]:
        if any(pause < 1 for pause in value):
            raise ValueError('has a pause of no time; write pauses of at least a second, like "5m"')
        return value
