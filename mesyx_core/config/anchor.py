"""Paths in mesyx.toml are relative to the file, wherever a command is run from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from mesyx_core.config.refusal import members, nested


def anchored(model: type[BaseModel], table: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The table with each path that is relative put under `folder`, also in tables inside."""
    found = dict(table)
    for key, field in model.model_fields.items():
        value, inner = found.get(key), nested(field)
        if inner is not None and isinstance(value, dict):
            found[key] = anchored(inner, value, folder)
        elif isinstance(value, str) and value and Path in members(field.annotation):
            found[key] = str(folder / value)
    return found
