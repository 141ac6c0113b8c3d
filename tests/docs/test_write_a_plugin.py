"""The plugin of docs/tutorial/write-a-plugin.md, put together as the page says, holds what it must and is used by nodes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from mesyx_core.cli import exits
from mesyx_core.cli.app import run

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "tutorial" / "write-a-plugin.md"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """As the page has it: the template, with two of its files written anew."""
    assert run(["plugin", "new", "quiet", "--role", "filter", "--dir", str(tmp_path)]) == exits.OK
    made = tmp_path / "mesyx-quiet"
    (made / "src/mesyx_quiet/filter.py").write_text((HERE / "quiet" / "filter.py").read_text())
    (made / "tests/test_filter.py").write_text((HERE / "quiet" / "certification.py").read_text())
    return made


def test_it_holds_what_it_must(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plugin", "check", str(project)]) == exits.OK, capsys.readouterr().out


def test_its_tests_pass(project: Path) -> None:
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "pythonpath=src"]
    done = subprocess.run(words, cwd=project, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout


def test_the_page_shows_what_the_template_makes(project: Path) -> None:
    text = PAGE.read_text()
    shown = re.search(r"```text\n(mesyx-quiet/.*?)```", text, re.DOTALL)
    assert shown is not None
    files = {line.split()[0] for line in shown[1].splitlines()[1:] if line.strip()}
    there = {
        str(file.relative_to(project))
        for file in project.rglob("*")
        if file.is_file() and "__pycache__" not in str(file)
    }
    assert files == there


def test_what_is_done_and_not_declared_is_told_as_the_page_says(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = project / "tests" / "test_filter.py"
    file.write_text(
        file.read_text().replace('frozenset({"marks"})', "frozenset()").replace("    examples =", "    unused =")
    )
    (project / "src" / "mesyx_quiet").rename(project / "src" / "mesyx_quiet_again")
    for each in (file, project / "pyproject.toml", *(project / "src" / "mesyx_quiet_again").glob("*.py")):
        each.write_text(each.read_text().replace("mesyx_quiet", "mesyx_quiet_again"))
    assert run(["plugin", "check", str(project)]) == exits.OK  # nothing shows it yet: no sample is from the list
    file.write_text(file.read_text().replace("announce@lists.example.org", "bob@example.com"))
    capsys.readouterr()
    assert run(["plugin", "check", str(project)]) == exits.FAILED
    told = " ".join(capsys.readouterr().out.split())
    assert "it marks: declare it" in told
    assert "it marks: declare it" in PAGE.read_text()
