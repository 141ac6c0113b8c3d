"""mesyx.toml is refused before anything starts, with file, TOML path and what to write instead."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from mesyx_core.api import Refused
from mesyx_core.config import ConfigRefused, load, parse, write_initial

NODE = '[node]\nname = "mx1"\nroles = ["accept"]\n'


class Tls(BaseModel):
    model_config = ConfigDict(extra="forbid")
    mode: Literal["off", "starttls"] = "off"
    password: SecretStr | None = None


class Listening(BaseModel):
    model_config = ConfigDict(extra="forbid")
    listen: str = Field(examples=["0.0.0.0:25"])
    workers: int = 1
    tls: Tls = Tls()


def refusal(text: str, file: Path = Path("mesyx.toml")) -> str:
    try:
        for section in parse(text, file).sections:
            section.check(Listening)
    except ConfigRefused as refused:
        return str(refused)
    pytest.fail("was not refused")


def test_an_instance_uses_its_name_unless_told_otherwise() -> None:
    config = parse(NODE + '[ingress.smtp]\n[ingress.mx]\nuse = "smtp"\nlisten = "0.0.0.0:25"\n', Path("x/mesyx.toml"))
    assert [(s.path, s.use, s.table) for s in config.of("ingress")] == [
        ("ingress.smtp", "smtp", {}),
        ("ingress.mx", "smtp", {"listen": "0.0.0.0:25"}),
    ]
    assert config.state == Path("x/state").absolute()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "mesyx.toml: [node]: is missing; begin the file with [node]"),
        ("[node", "mesyx.toml: is not TOML: "),
        (NODE + "stat = 1", "mesyx.toml: [node] stat: unknown key; did you mean state?"),
        (NODE + "[acess.imap]", "mesyx.toml: [acess]: unknown table; did you mean [access]?"),
        (NODE + "[ingress]\nmx = 1", "mesyx.toml: [ingress] mx: has no instance; put it under [ingress.NAME]"),
        (NODE + "[ingress.mx]\nuse = 3", '[ingress.mx] use: must be a string; write the plugin\'s name, like use = "smtp"'),
        (NODE + '[ingress."a b"]', "[ingress.'a b']: is no name for an instance; use letters"),
        (NODE + "[ingress.mx]", '[ingress.mx] listen: is missing; add listen = "0.0.0.0:25"'),
        (NODE + '[ingress.mx]\nlisten = "x"\nlistne = "x"', "[ingress.mx] listne: unknown key; did you mean listen?"),
        (NODE + '[ingress.mx]\nlisten = "x"\ntls.mode = "on"', '[ingress.mx] tls.mode: is not one of the values it can have; write "off" or "starttls"'),
        (NODE + '[ingress.mx]\nlisten = "x"\nworkers = "many"', "[ingress.mx] workers: must be an integer"),
        ('[node]\nname = "a"\nroles = ["acept"]', '[node] roles.0: is not one of the values it can have; write "accept", "exchange"'),
        ('[node]\nname = "a"\nroles = []', "[node] roles: list should have at least 1 item"),
        ('[node]\nname = "a b"\nroles = ["accept"]', '[node] name: does not have the form that it must have; write something like "mx1"'),
        (NODE + 'database = "mysql"', '[node] database: names no known database; write "sqlite"'),
    ],
)  # fmt: skip
def test_a_refusal_names_file_path_and_remedy(text: str, said: str) -> None:
    assert said in refusal(text)


def test_everything_that_is_wrong_is_said_at_once() -> None:
    assert len(refusal('[nod]\n[node]\nname = "a b"\nroles = ["accept"]\nx = 1\n[acess.y]').splitlines()) == 4


def test_a_secret_may_stand_in_a_file_beside_the_config(tmp_path: Path) -> None:
    (tmp_path / "hush").write_text("open sesame\nsecond line\n")
    text = NODE + '[ingress.mx]\nlisten = "x"\ntls.password_file = "hush"\n'
    password = parse(text, tmp_path / "mesyx.toml").sections[0].check(Listening).tls.password
    assert password is not None
    assert password.get_secret_value() == "open sesame"


def test_a_path_is_relative_to_the_file_wherever_a_command_is_run(tmp_path: Path) -> None:
    class Inner(BaseModel):
        certificate: Path | None = None

    class Outer(BaseModel):
        tls: Inner = Inner()
        folder: Path = Path("spool")
        name: str = ""

    text = NODE + '[ingress.mx]\ntls.certificate = "mx1.pem"\nfolder = "/var/spool"\nname = "mx1.pem"\n'
    (section,) = parse(text, tmp_path / "mesyx.toml").sections
    config = section.check(Outer)
    assert config.tls.certificate == tmp_path / "mx1.pem"
    assert config.folder == Path("/var/spool")
    assert config.name == "mx1.pem"


def test_a_secret_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    said = refusal(NODE + '[ingress.mx]\nlisten = "x"\ntls.password_file = "none"\n', tmp_path / "mesyx.toml")
    assert f"[ingress.mx.tls] password_file: {tmp_path / 'none'} cannot be read" in said


def test_a_refusal_never_repeats_a_value() -> None:
    said = refusal(NODE + 'database = "mysql://u:sesame@h"\n[ingress.mx]\nlisten = 1\ntls.password = ["sesame"]')
    assert "sesame" not in said


def test_a_secret_in_clear_is_warned_of_when_others_can_read_it(tmp_path: Path) -> None:
    file = tmp_path / "mesyx.toml"
    file.write_text(NODE + '[ingress.mx]\nlisten = "x"\ntls.password = "sesame"\n')
    file.chmod(0o644)
    section = load(file).sections[0]
    assert [w.path for w in section.warnings(Listening)] == ["[ingress.mx.tls] password"]
    file.chmod(0o600)
    assert section.warnings(Listening) == []


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigRefused, match="there is no such file; run `mesyx init DIR`"):
        load(tmp_path / "mesyx.toml")


def test_the_initial_file_is_valid_private_and_never_overwritten(tmp_path: Path) -> None:
    file = write_initial(tmp_path / "node", "mx1", ["accept", "exchange", "client"])
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    config = load(file)
    assert (config.node.name, config.node.roles, config.sections) == ("mx1", ("accept", "exchange", "client"), ())
    with pytest.raises(Refused, match="is there already"):
        write_initial(tmp_path / "node", "mx2", ["client"])


def test_the_initial_file_s_comments_are_valid_sections(tmp_path: Path) -> None:
    file = write_initial(tmp_path, "mx1", ["accept", "exchange", "client"])
    lines = [line.partition("# ")[2] or line for line in file.read_text().splitlines()]
    active = "\n".join(line for line in lines if line.startswith("[") or " = " in line)
    sections = {section.path for section in parse(active, file).sections}
    assert sections == {
        "ingress.mx",
        "egress.smtp",
        "filter.rules",
        "transport.https",
        "access.imap",
        "access.submission",
    }
