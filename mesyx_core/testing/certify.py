"""Certification without pytest: runs the contract classes of a plugin's tests, or what holds for any provider."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel

from mesyx_core.api import Provider
from mesyx_core.config import SectionKind
from mesyx_core.testing.contract import Contract
from mesyx_core.testing.contracts.provider import ProviderContract

LONGEST = 300


class Finding(NamedTuple):
    """One thing that was looked at."""

    what: str
    wrong: str = ""
    """Empty when it is right."""


def certifications(tests: Path) -> Iterator[type[Contract]]:
    """The contract classes that a folder of tests has. Raises ImportError for a module that needs what is not there."""
    for file in sorted(tests.rglob("test_*.py")):
        for kind in vars(_module(file)).values():
            if isinstance(kind, type) and issubclass(kind, Contract) and _certifies(kind):
                yield kind


def _certifies(kind: type[Contract]) -> bool:
    return hasattr(kind, "provider") or hasattr(kind, "command")


def _module(file: Path) -> Any:
    name = f"certified_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def certify(certification: type[Contract]) -> Iterator[Finding]:
    """All tests that apply."""
    for name in certification.tests:
        test = getattr(certification, name)
        if test is not None:
            yield _tried(certification, name)


def certify_any(kind: SectionKind, provider: Provider) -> Iterator[Finding]:
    """What holds for a provider of which nothing else is known; its config is made of the examples of its keys."""
    wrong = [name for name, field in provider.config.model_fields.items() if field.is_required() and not field.examples]
    if wrong:
        yield Finding("a config to try it with", f"{', '.join(wrong)} must be given: name one in Field(examples=[…])")
        return
    namespace = {"kind": kind, "provider": provider, "config": example(provider.config)}
    trial: type[Contract] = type(f"Any{kind.capitalize()}", (ProviderContract,), namespace)
    for name in vars(ProviderContract):
        if name.startswith("test_"):
            yield _tried(trial, name)


def example(model: type[BaseModel]) -> Mapping[str, Any]:
    """A config of the first examples of all keys that must be given."""
    return {
        name: field.examples[0] for name, field in model.model_fields.items() if field.is_required() and field.examples
    }


def _tried(certification: type[Contract], name: str) -> Finding:
    what = f"{certification.__name__}: {name.removeprefix('test_').replace('_', ' ')}"
    try:
        getattr(certification(), name)()
    except Exception as error:
        said = " ".join(str(error).split())[:LONGEST]
        return Finding(what, f"{type(error).__name__}: {said}{_where(error)}" if said else _asserted(error))
    return Finding(what)


def _asserted(error: BaseException) -> str:
    """An assert without a word of its own is told by its line."""
    frames = inspect.getinnerframes(error.__traceback__) if error.__traceback__ else []
    line = (frames[-1].code_context or [""])[0].strip() if frames else ""
    return f"{type(error).__name__}: {line}{_where(error)}"


def _where(error: BaseException) -> str:
    frames = inspect.getinnerframes(error.__traceback__) if error.__traceback__ else []
    return f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
