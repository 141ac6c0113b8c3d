"""A new plugin's project works as it is written, and `plugin check` finds what does not."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath

import pytest

from mesyx_core.cli import exits
from mesyx_core.cli.app import run
from mesyx_core.cli.plugin import KINDS
from mesyx_core.config import KINDS as SECTIONS
from mesyx_core.config import parse
from mesyx_core.plugins.template import render

BROKEN = {
    "raise RuntimeError('no luck')\n": "cannot be imported: RuntimeError: no luck",
    "from mesyx_core.api import hookimpl\n@hookimpl\ndef mesyx_filterz(): return []\n": "did you mean mesyx_filters?",
    "from mesyx_core.api import hookimpl\n@hookimpl\ndef mesyx_filters(): return []\n": "no hook of it returns anything",
    "from mesyx_core.api import hookimpl\n@hookimpl\ndef mesyx_filters(): return []\ndef mesyx_ingresses(): return []\n": (
        "mesyx_ingresses: put @hookimpl above it"
    ),
}


def made(folder: Path, name: str, *roles: str) -> Path:
    words = [word for role in roles or ("filter",) for word in ("--role", role)]
    assert run(["plugin", "new", name, *words, "--dir", str(folder)]) == exits.OK
    return folder / f"mesyx-{name}"


def checked(capsys: pytest.CaptureFixture[str], *what: str | Path) -> tuple[int, list[dict[str, str]]]:
    """The exit code, and what is wrong."""
    capsys.readouterr()
    code = run(["plugin", "check", *map(str, what), "--json"])
    return code, [row for row in json.loads(capsys.readouterr().out) if row["result"] != "ok"]


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_the_roles_are_those_of_sections() -> None:
    assert sorted(KINDS) == sorted(SECTIONS)


@pytest.mark.parametrize("name", ["quiet", "my-own-2"])
def test_every_file_is_filled_in_and_python_compiles(name: str) -> None:
    files = dict(render(name, SECTIONS))
    assert len([file for file in files if file.match("tests/test_*.py")]) == len(SECTIONS)
    for file, text in files.items():
        assert "@name@" not in text
        assert "@Class@" not in text
        if file.suffix == ".py":
            compile(text, str(file), "exec")
    readme = files[PurePosixPath("README.md")]
    for part in readme.split("```toml\n")[1:]:
        parse('[node]\nname = "mx1"\nroles = ["accept"]\n' + part.partition("```")[0], Path("mesyx.toml"))


def test_a_new_plugin_is_certified_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project = made(tmp_path, "fresh", "filter", "crypto")
    assert checked(capsys, project) == (exits.OK, [])
    run(["plugin", "check", str(project)])
    assert "checks hold" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["Quiet", "a_b", "-x", "x--y", "builtin", "x" * 31, "../x"])
def test_a_name_that_cannot_be_is_refused(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plugin", "new", "--role", "filter", "--dir", str(tmp_path), "--", name]) == exits.FAILED
    assert "lower case letters" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_project_that_is_there_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made(tmp_path, "twice")
    assert run(["plugin", "new", "twice", "--role", "filter", "--dir", str(tmp_path)]) == exits.FAILED
    assert "is there already" in capsys.readouterr().err


@pytest.mark.parametrize(("number", "code"), list(enumerate(BROKEN)), ids=BROKEN.values())
def test_a_plugin_that_is_declared_wrongly_is_told_so(
    number: int, code: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project = made(tmp_path, f"wrong{number}")
    (project / f"src/mesyx_wrong{number}/__init__.py").write_text(code)
    result, wrong = checked(capsys, project)
    assert result == exits.FAILED
    assert any(BROKEN[code] in row["result"] for row in wrong), wrong


def test_a_plugin_that_breaks_its_contract_is_told_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project = made(tmp_path, "loud")
    change(
        project / "src/mesyx_loud/filter.py",
        'reason="mail from',
        'reason="x\\ny", temporary=False, flags=frozenset({"a"})) or Verdict(reason="mail from',
    )
    change(project / "tests/test_filter.py", '{"rejects", "marks"}', '{"rejects"}')
    result, wrong = checked(capsys, project)
    assert result == exits.FAILED
    assert {row["check"] for row in wrong} >= {
        "TestFilter: every message gets a verdict at every stage",
        "TestFilter: it does what it declares and nothing else",
    }


def test_a_provider_that_nothing_certifies_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project = made(tmp_path, "bare")
    (project / "tests" / "test_filter.py").unlink()
    change(project / "pyproject.toml", 'name = "mesyx-bare"', 'name = "bare"')
    result, wrong = checked(capsys, project)
    assert result == exits.FAILED
    assert [row["check"] for row in wrong] == ["the distribution's name", "filter bare is certified"]


def test_what_is_installed_holds(capsys: pytest.CaptureFixture[str]) -> None:
    assert checked(capsys) == (exits.OK, [])


def test_what_is_neither_installed_nor_a_project_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plugin", "check", str(tmp_path)]) == exits.FAILED
    assert "nor a project" in capsys.readouterr().err
