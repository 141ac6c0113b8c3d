"""mesyx.toml: read, checked and refused with a remedy; written once by `mesyx init`."""

from mesyx_core.config.initial import write_initial
from mesyx_core.config.model import KINDS, Config, NodeConfig, Role, Section, SectionKind, load, parse
from mesyx_core.config.refusal import ConfigRefused, Problem
from mesyx_core.config.schema import json_schema
from mesyx_core.config.sending import Sending

__all__ = [
    "KINDS", "Config", "ConfigRefused", "NodeConfig", "Problem", "Role", "Section", "SectionKind", "Sending",
    "json_schema",
    "load", "parse", "write_initial",
]  # fmt: skip
