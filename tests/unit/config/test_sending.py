"""Keys that every egress has, and spans of time as people write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

from mesyx_core.config import ConfigRefused, Sending, json_schema, parse
from mesyx_core.config.duration import Duration

FILE = Path("/etc/mesyx/mesyx.toml")
NODE = '[node]\nname = "mx1"\nroles = ["accept"]\n'


def sending(keys: str) -> Sending:
    [section] = parse(f"{NODE}[egress.out]\n{keys}", FILE).of("egress")
    return section.sending


def test_mail_is_tried_for_five_days_unless_the_config_says_otherwise() -> None:
    assert sending("") == Sending()
    assert [str(pause) for pause in Sending().retry] == ["5m", "15m", "30m", "1h", "2h"]
    assert str(Sending().give_up) == "5d"


def test_they_are_taken_out_of_what_the_plugin_checks() -> None:
    [section] = parse(f'{NODE}[egress.out]\nretry = ["10s", "1h"]\ngive_up = "2d"\nhost = "x"\n', FILE).of("egress")
    assert (section.sending.retry, section.sending.give_up) == ((10, 3600), 172_800)
    assert section.table == {"host": "x"}


def test_no_other_kind_of_instance_has_them() -> None:
    [section] = parse(f'{NODE}[filter.one]\nretry = ["10s"]\n', FILE).of("filter")
    assert section.table == {"retry": ["10s"]}


@pytest.mark.parametrize(
    ("keys", "path"),
    [
        ("retry = []", "[egress.out] retry"),
        ('retry = ["soon"]', "[egress.out] retry.0"),
        ('retry = ["0s"]', "[egress.out] retry"),
        ("give_up = 5", "[egress.out] give_up"),
        ('give_up = "5 days"', "[egress.out] give_up"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_path_and_a_remedy(keys: str, path: str) -> None:
    with pytest.raises(ConfigRefused) as refused:
        sending(keys)
    [problem] = refused.value.problems
    assert problem.path == path
    assert problem.remedy


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("5m", 300), ("1h", 3600), ("5d", 432_000), ("2w", 1_209_600)]
)
def test_a_span_is_a_number_and_a_unit(text: str, seconds: int) -> None:
    assert Duration.parse(text) == seconds
    assert Duration.parse(str(Duration(seconds))) == seconds


def test_a_span_is_shown_in_its_largest_whole_unit() -> None:
    assert [str(Duration(n)) for n in (0, 61, 120, 7200, 86_400, 604_800)] == ["0s", "61s", "2m", "2h", "1d", "1w"]


def test_resume_after_is_a_span_of_the_node() -> None:
    assert parse(NODE, FILE).node.resume_after == 3600
    assert parse(f'{NODE}resume_after = "10m"\n', FILE).node.resume_after == 600


def test_the_schema_knows_them_beside_each_plugins_own() -> None:
    model = type(
        "Settings",
        (BaseModel,),
        {"__annotations__": {"host": str}, "__module__": "one", "model_config": ConfigDict(extra="forbid"), "host": ""},
    )
    schema: Any = json_schema({"egress": {"one": model}})
    assert {"host", "use", "retry", "give_up"} in [set(each["properties"]) for each in schema["$defs"].values()]
