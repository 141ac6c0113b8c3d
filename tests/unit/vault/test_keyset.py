"""Which keyset a message is sealed to."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from mesyx_core.api.message import Importance
from mesyx_core.vault import age
from mesyx_core.vault.keyset import Keyset, KeysetError, select

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "vault" / "keyset.json").read_text())
ONE, TWO = (age.Identity.classic(bytes([number]) * 32).recipient for number in (1, 2))
HYBRID = age.Identity.hybrid(bytes(32)).recipient
FALLBACK = Keyset((ONE,), fallback=True)


def short(start: int, end: int, *importances: Importance) -> Keyset:
    return Keyset((ONE, TWO), start, end, frozenset(importances or ("low", "normal", "high")))


@pytest.mark.parametrize("case", VECTORS)
def test_ids_are_fixed(case: dict[str, Any]) -> None:
    recipients, importances = tuple(case["recipients"]), frozenset(case["importances"])
    keyset = Keyset(recipients, case["start"], case["end"], importances, case["fallback"])
    assert keyset.id.hex() == case["id"]
    assert Keyset.of(keyset.values()) == keyset


def test_recipients_are_a_set() -> None:
    assert Keyset((ONE, TWO, ONE)) == Keyset((TWO, ONE))
    assert Keyset((ONE, TWO)).id == Keyset((TWO, ONE)).id


def test_any_difference_makes_another_id() -> None:
    base = Keyset((ONE,), 1, 10)
    others = [
        dataclasses.replace(base, recipients=(TWO,)),
        dataclasses.replace(base, start=2),
        dataclasses.replace(base, start=None),
        dataclasses.replace(base, end=11),
        dataclasses.replace(base, importances=frozenset(("low",))),
        Keyset((ONE,)),
        FALLBACK,
    ]
    assert len({keyset.id for keyset in (base, *others)}) == 8


@pytest.mark.parametrize(
    "fields",
    [
        {"recipients": ()},
        {"recipients": ("age1nonsense",)},
        {"recipients": (ONE.upper(),)},
        {"recipients": (ONE, HYBRID)},
        {"recipients": tuple(age.generate(hybrid=False).recipient for _ in range(65))},
        {"recipients": (ONE,), "start": 5, "end": 5},
        {"recipients": (ONE,), "end": 0},
        {"recipients": (ONE,), "start": -1},
        {"recipients": (ONE,), "end": 1 << 63},
        {"recipients": (ONE,), "importances": frozenset()},
        {"recipients": (ONE,), "importances": frozenset(("urgent",))},
        {"recipients": (ONE,), "end": 5, "fallback": True},
        {"recipients": (ONE,), "importances": frozenset(("low",)), "fallback": True},
    ],
)
def test_impossible_keysets_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(KeysetError):
        Keyset(**fields)


@pytest.mark.parametrize(
    "values",
    [
        None,
        [],
        [[ONE], None, None, ["low"]],
        [[TWO, ONE] if ONE < TWO else [ONE, TWO], None, None, ["low"], False],
        [[ONE, ONE], None, None, ["low"], False],
        [[ONE], None, None, ["normal", "low"], False],
        [[ONE], True, None, ["low"], False],
        [[ONE], 1.0, None, ["low"], False],
        [[ONE], None, None, ["low"], 0],
        [[1], None, None, ["low"], False],
        [ONE, None, None, ["low"], False],
        [[ONE], None, None, [[]], False],
    ],
)
def test_one_keyset_has_one_form(values: Any) -> None:
    with pytest.raises(KeysetError):
        Keyset.of(values)


def test_of_several_the_one_that_ends_first_is_taken() -> None:
    day, week = short(0, 100), short(0, 700)
    assert select([FALLBACK, week, day], 50, "normal", ()) == day
    assert select([FALLBACK, week, day], 100, "normal", ()) == week
    assert select([FALLBACK, week, day], 700, "normal", ()) == FALLBACK


def test_of_those_that_end_together_the_lowest_id_is_taken() -> None:
    twins = [short(0, 100), short(1, 100), short(2, 100)]
    assert select(twins, 50, "normal", ()) == min(twins, key=lambda keyset: keyset.id)
    assert select(twins[::-1], 50, "normal", ()) == select(twins, 50, "normal", ())


def test_importance_narrows_and_the_unknown_is_normal() -> None:
    high, rest = short(0, 50, "high"), short(0, 100, "low", "normal")
    assert select([high, rest], 10, "high", ()) == high
    assert select([high, rest], 10, "low", ()) == rest
    assert select([high, rest], 10, "whatever", ()) == rest
    assert select([high], 10, "whatever", ()) is None


def test_closed_and_future_keysets_are_not_taken() -> None:
    now, later = short(0, 100), short(100, 200)
    assert select([now, later], 50, "normal", ()) == now
    assert select([now, later], 50, "normal", {now.id}) is None


def test_a_clock_that_goes_back_does_not_revive_a_keyset() -> None:
    old = short(0, 100)
    assert select([old, FALLBACK], 50, "normal", (), last_epoch=99) == old
    assert select([old, FALLBACK], 50, "normal", (), last_epoch=100) == FALLBACK
