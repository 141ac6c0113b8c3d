"""Why a config is refused: every problem names file, TOML path, what is wrong and what to write instead."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from mesyx_core.api.errors import Misconfigured

PLAIN: Final = (
    (r"^Input should be an? (valid )?", "must be a "),
    (r"^Input should", "must"),
    (r"\b[Tt]uple\b", "list"),
    (r"\b(dictionary|object)\b", "table"),
    (r"\ba integer", "an integer"),
    (r" after validation, not \d+", ""),
)


class Problem(NamedTuple):
    """One thing that is wrong. `path` is the TOML path, like `[ingress.mx] tls.mode`."""

    file: Path
    path: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return (
            f"{self.file}: {self.path}: {self.what}; {self.remedy}"
            if self.path
            else f"{self.file}: {self.what}; {self.remedy}"
        )


class ConfigRefused(Misconfigured):
    """All that was found wrong at once, one line each."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


def closest(word: str, known: Iterable[str]) -> str | None:
    """The known word that a person probably meant."""
    names = list(known)
    folded = {name.lower(): name for name in names}
    found = difflib.get_close_matches(word.lower(), folded, n=1, cutoff=0.6)
    return folded[found[0]] if found else None


def suggestion(word: str, known: Iterable[str], each: str = "{}") -> str:
    """What to write instead of an unknown word: the one that was meant, or all that there are."""
    names = sorted(known)
    if meant := closest(word, names):
        return f"did you mean {each.format(meant)}?"
    if not names:
        return "remove it"
    return "write one of " + ", ".join(each.format(name) for name in names) + ", or remove it"


def describe(
    error: ValidationError, model: type[BaseModel], table: Mapping[str, Any], file: Path, section: str
) -> list[Problem]:
    """A pydantic refusal in words of mesyx.toml. Values are never repeated: one of them may be a secret."""
    problems: dict[str, Problem] = {}
    for detail in error.errors(include_url=False, include_input=False):
        keys = _keys(detail["loc"], table, missing=detail["type"] in ("missing", "extra_forbidden"))
        path = f"[{section}] {'.'.join(map(str, keys))}".rstrip()
        if path not in problems:  # members of a union each complain; the first is enough
            what, remedy = _words(detail, _owner(model, keys), keys)
            problems[path] = Problem(file, path, what, remedy)
    return [p for path, p in problems.items() if not any(other.startswith(path + ".") for other in problems)]


def _keys(loc: tuple[int | str, ...], table: Any, *, missing: bool) -> list[int | str]:
    """The part of pydantic's location that a person wrote; names of union members and validators are left out."""
    keys: list[int | str] = []
    for part in loc:
        here = (isinstance(table, Mapping) and part in table) or (
            isinstance(table, list) and isinstance(part, int) and part < len(table)
        )
        if here:
            table = table[part]
        elif not (missing and part == loc[-1]):
            continue
        keys.append(part)
    return keys


def _owner(model: type[BaseModel], keys: Sequence[int | str]) -> type[BaseModel]:
    """The model whose field the last key is."""
    for key in keys[:-1]:
        field = model.model_fields.get(str(key))
        inner = nested(field) if field else None
        if inner is None:
            break
        model = inner
    return model


def nested(field: FieldInfo) -> type[BaseModel] | None:
    """The model of a field that is a table of its own."""
    return next((t for t in members(field.annotation) if isinstance(t, type) and issubclass(t, BaseModel)), None)


def members(annotation: Any) -> list[Any]:
    """The types an annotation is made of, itself first."""
    found = [annotation]
    for inner in getattr(annotation, "__args__", ()):
        found += members(inner)
    return found


def _words(detail: ErrorDetails, model: type[BaseModel], keys: Sequence[int | str]) -> tuple[str, str]:
    kind, context = detail["type"], detail.get("ctx", {})
    key = str(keys[-1]) if keys else ""
    field = model.model_fields.get(key)
    if kind == "extra_forbidden":
        return "unknown key", suggestion(key, model.model_fields)
    if kind == "missing":
        return "is missing", f"add {key} = {_example(field)}"
    if kind in ("literal_error", "enum"):
        return "is not one of the values it can have", "write " + str(context.get("expected", "")).replace("'", '"')
    if kind in ("value_error", "assertion_error"):
        what, _, remedy = str(context.get("error", detail["msg"])).partition("; ")
        return what, remedy or f"write {_example(field)}"
    if kind == "string_pattern_mismatch":
        hint = f" ({field.description})" if field and field.description else ""
        return "does not have the form that it must have", f"write something like {_example(field)}{hint}"
    return _plain(detail["msg"]), f"write {_example(field)}"


def _plain(message: str) -> str:
    """Pydantic's sentence in TOML's words."""
    for pattern, words in PLAIN:
        message = re.sub(pattern, words, message)
    return message[:1].lower() + message[1:]


def _example(field: FieldInfo | None) -> str:
    """What a right value looks like, as TOML."""
    if field is None:
        return "another value"
    for value in [*(field.examples or []), field.default]:
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, str) and value:
            return f'"{value}"'
        if isinstance(value, int | float):
            return str(value)
        if isinstance(value, list | tuple) and value:
            return "[" + ", ".join(f'"{v}"' if isinstance(v, str) else str(v) for v in value) + "]"
    return field.description or "a value"
