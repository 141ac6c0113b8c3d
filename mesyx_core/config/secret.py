"""Secrets: a field of type SecretStr or SecretBytes may be given as KEY_file: a file's first line."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, SecretBytes, SecretStr
from pydantic.fields import FieldInfo

from mesyx_core.config.refusal import Problem, members, nested

SUFFIX: Final = "_file"
LIMIT: Final = 1 << 16


def is_secret(field: FieldInfo) -> bool:
    """Whether a field's value must never be shown."""
    return any(t in (SecretStr, SecretBytes) for t in members(field.annotation))


def fill_in(
    model: type[BaseModel], table: Mapping[str, Any], file: Path, section: str, problems: list[Problem]
) -> dict[str, Any]:
    """The table with each KEY_file replaced by KEY and what the file holds."""
    filled = dict(table)
    for key, field in model.model_fields.items():
        inner = nested(field)
        if inner is not None and isinstance(filled.get(key), dict):
            filled[key] = fill_in(inner, filled[key], file, f"{section}.{key}", problems)
        named = key + SUFFIX
        if named not in filled or named in model.model_fields or not is_secret(field):
            continue
        value, path = filled.pop(named), f"[{section}] {named}"
        if key in filled:
            problems.append(Problem(file, path, f"{key} is given too", "keep one of them"))
            continue
        found = _first_line(value, file, path)
        if isinstance(found, Problem):
            problems.append(found)
            filled[key] = ""  # so that it is not called missing as well
        else:
            filled[key] = found
    return filled


def in_clear(model: type[BaseModel], table: Mapping[str, Any], file: Path, section: str) -> list[Problem]:
    """A warning for each secret that stands in a config file which others can read."""
    try:
        open_to_others = stat.S_IMODE(file.stat().st_mode) & 0o077
    except OSError:
        return []
    if not open_to_others:
        return []
    found: list[Problem] = []
    for key, field in model.model_fields.items():
        inner = nested(field)
        if inner is not None and isinstance(table.get(key), dict):
            found += in_clear(inner, table[key], file, f"{section}.{key}")
        elif key in table and is_secret(field):
            remedy = f'move it to a file and write {key}{SUFFIX} = "PATH", or chmod 600 {file}'
            found.append(Problem(file, f"[{section}] {key}", "a secret in clear that others can read", remedy))
    return found


def _first_line(value: object, file: Path, path: str) -> str | Problem:
    if not isinstance(value, str) or not value:
        return Problem(file, path, "must be a path", 'write it as a string, like "/etc/mesyx/secret"')
    target = file.parent / value
    try:
        with target.open("rb") as stream:
            line = stream.readline(LIMIT).decode().rstrip("\r\n")
    except OSError as error:
        return Problem(
            file,
            path,
            f"{target} cannot be read ({error.strerror})",
            "write the path of a file that this user can read",
        )
    except UnicodeDecodeError:
        return Problem(file, path, f"{target} is not text", "write the secret as one line of UTF-8")
    return line or Problem(file, path, f"{target} begins with an empty line", "put the secret on its first line")
