"""The JSON schema lets an editor complete and check mesyx.toml."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, SecretStr

from mesyx_core.config import json_schema


def model(name: str, **fields: Any) -> type[BaseModel]:
    annotations = {key: kind for key, (kind, _) in fields.items()}
    values = {key: value for key, (_, value) in fields.items() if value is not ...}
    space = {"__annotations__": annotations, "__module__": name, "model_config": ConfigDict(extra="forbid"), **values}
    return type("Settings", (BaseModel,), space)


def test_plugins_may_call_their_models_alike() -> None:
    first, second = model("one", listen=(str, ...)), model("two", speak=(str, ""))
    schema: Any = json_schema({"ingress": {"one": first, "two": second}})
    shown = {frozenset(d["properties"]) for d in schema["$defs"].values()}
    assert {frozenset({"listen", "use"}), frozenset({"speak", "use"})} <= shown


def test_a_required_secret_may_be_given_as_a_file() -> None:
    schema: Any = json_schema({"egress": {"relay": model("relay", password=(SecretStr, ...))}})
    settings = next(d for d in schema["$defs"].values() if "password" in d["properties"])
    assert settings["properties"]["password_file"]["type"] == "string"
    assert settings["allOf"] == [{"anyOf": [{"required": ["password"]}, {"required": ["password_file"]}]}]
    assert "password" not in settings.get("required", [])
