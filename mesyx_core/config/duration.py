"""Spans of time as people write them in mesyx.toml: a number and a unit."""

from __future__ import annotations

import re
from typing import Any, Final

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

UNITS: Final = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
LONGEST: Final = 10 * 365 * UNITS["d"]


class Duration(int):
    """Seconds, read from `"90s"`, `"5m"`, `"1h"`, `"5d"` or `"2w"`, and written so."""

    def __str__(self) -> str:
        unit = next(unit for unit, seconds in UNITS.items() if self % seconds == 0) if self else "s"
        return f"{self // UNITS[unit]}{unit}"

    @classmethod
    def parse(cls, text: Any) -> Duration:
        """Raises ValueError."""
        if isinstance(text, Duration):
            return text
        found = re.fullmatch(r"(\d{1,9})([smhdw])", text) if isinstance(text, str) else None
        seconds = int(found[1]) * UNITS[found[2]] if found else LONGEST + 1
        if seconds > LONGEST:
            raise ValueError('is no span of time; write a number and s, m, h, d or w, like "1h"')
        return cls(seconds)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(cls.parse)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "pattern": r"^\d{1,9}[smhdw]$"}
