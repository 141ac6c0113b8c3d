"""The JSON schema of mesyx.toml, for editors (taplo, Even Better TOML) and for checking by other programs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, JsonValue
from pydantic.json_schema import models_json_schema

from mesyx_core.config.model import KINDS, NodeConfig, SectionKind
from mesyx_core.config.secret import SUFFIX, is_secret
from mesyx_core.config.sending import Sending

Known = Mapping[SectionKind, Mapping[str, type[BaseModel]]]
"""For each kind of section the config models by what `use` may be."""


def json_schema(known: Known) -> dict[str, JsonValue]:
    """Schema of a whole mesyx.toml with the plugins in `known`; an instance takes the schema of its `use`."""
    models: list[type[BaseModel]] = [
        NodeConfig,
        Sending,
        *(model for uses in known.values() for model in uses.values()),
    ]
    refs, definitions = models_json_schema(
        [(m, "validation") for m in dict.fromkeys(models)], ref_template="#/$defs/{model}"
    )
    schemas = {model: definitions["$defs"][refs[model, "validation"]["$ref"].rpartition("/")[2]] for model in models}
    for model, schema in schemas.items():
        _let_secrets_be_files(model, schema)
        if model not in (NodeConfig, Sending):
            schema.setdefault("properties", {})["use"] = {"type": "string"}
    for model in known.get("egress", {}).values():
        schemas[model]["properties"] |= schemas[Sending]["properties"]
    properties: dict[str, Any] = {"node": refs[NodeConfig, "validation"]}
    for kind in KINDS:
        uses = {use: refs[model, "validation"] for use, model in known.get(kind, {}).items()}
        properties[kind] = {
            "type": "object",
            "properties": {
                use: {"if": {"required": ["use"]}, "then": _by_use(uses), "else": ref} for use, ref in uses.items()
            },
            "additionalProperties": {"allOf": [{"required": ["use"]}, _by_use(uses)]},
        }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "mesyx.toml",
        "type": "object",
        "properties": properties,
        "required": ["node"],
        "additionalProperties": False,
        "$defs": definitions["$defs"],
    }


def _by_use(uses: Mapping[str, Any]) -> dict[str, Any]:
    each = [{"if": {"properties": {"use": {"const": use}}}, "then": ref} for use, ref in uses.items()]
    return {"properties": {"use": {"enum": list(uses)}}, "allOf": each} if each else {}


def _let_secrets_be_files(model: type[BaseModel], schema: dict[str, Any]) -> None:
    for key, field in model.model_fields.items():
        if not is_secret(field):
            continue
        schema["properties"][key + SUFFIX] = {
            "type": "string",
            "description": f"Path of a file whose first line is `{key}`.",
        }
        if key in schema.get("required", ()):
            schema["required"].remove(key)
            schema.setdefault("allOf", []).append({"anyOf": [{"required": [key]}, {"required": [key + SUFFIX]}]})
