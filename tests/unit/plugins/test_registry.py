"""Plugins are imported only when named, and one that fails is named, not fatal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import PathDistribution
from pathlib import Path
from textwrap import dedent

import pytest

from mesyx_core.api import Refused
from mesyx_core.config import ConfigRefused, parse
from mesyx_core.plugins import Plugin, Registry

NODE = '[node]\nname = "a"\nroles = ["accept"]\n'
GOOD = """
    from pydantic import BaseModel, ConfigDict
    from mesyx_core.api import Provider, hookimpl

    class Settings(BaseModel):
        model_config = ConfigDict(extra="forbid")
        listen: str = ""

    def provider(name):
        return Provider(name=name, config=Settings, open=lambda config, context: None)
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of installed distributions."""
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [name for name, module in sys.modules.items() if str(tmp_path) in str(getattr(module, "__file__", ""))]:
        del sys.modules[name]


def install(site: Path, name: str, code: str, dist: str = "") -> None:
    dist = dist or f"trial-{name}"
    module = dist.replace("-", "_")
    (site / f"{module}.py").write_text(dedent(GOOD) + dedent(code))
    info = site / f"{module}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(f"[mesyx]\n{name} = {module}\n")


def registry(site: Path) -> Registry:
    dists = map(PathDistribution, sorted(site.glob("*.dist-info")))
    return Registry([point for dist in dists for point in dist.entry_points if point.group == "mesyx"])


def loaded(site: Path, name: str) -> Plugin:
    plugin = registry(site).load(name)
    assert plugin is not None
    return plugin


def test_nothing_is_imported_before_it_is_named(site: Path) -> None:
    install(site, "one", "raise RuntimeError")
    install(
        site,
        "two",
        """
        @hookimpl
        def mesyx_ingresses(): return [provider("two")]
    """,
    )
    plugins = registry(site)
    assert [(p.name, p.dist, p.version, p.state) for p in plugins.list()] == [
        ("one", "trial-one", "1.2", "installed"),
        ("two", "trial-two", "1.2", "installed"),
    ]
    assert plugins.find("ingress", "two").name == "two"
    assert "trial_one" not in sys.modules
    assert [p.state for p in plugins.list()] == ["installed", "loaded"]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise ValueError('no luck')", "cannot be imported: ValueError: no luck"),
        ("import sys; sys.exit(3)", "cannot be imported: SystemExit: 3"),
        ("from mesyx_core.api import Nothing", "cannot be imported: ImportError: cannot import name 'Nothing'"),
        ("", "declares nothing"),
        ("@hookimpl\ndef mesyx_ingress(): return []", "there is no hook mesyx_ingress; did you mean mesyx_ingresses?"),
        ("@hookimpl\ndef mesyx_ingresses(config): return []", "hooks take no arguments"),
        ("@hookimpl\ndef mesyx_ingresses(): return 'smtp'", "mesyx_ingresses must return a list of Provider"),
        ("@hookimpl\ndef mesyx_ingresses(): 1 / 0", "mesyx_ingresses raises ZeroDivisionError: division by zero"),
        ("@hookimpl\ndef mesyx_ingresses(): return [provider('x'), provider('x')]", "returns 2 providers called x"),
        (
            "@hookimpl\ndef mesyx_filters(): return [Provider(name='x', config=BaseModel, open=print)]",
            "mesyx_filters: x: config must refuse unknown keys",
        ),
        (
            "from mesyx_core.api import Command\n@hookimpl\n"
            "def mesyx_commands(): return [Command(words=('run',), help='', arguments=Settings, run=print)]",
            "mesyx_commands: run must begin with bad and a verb",
        ),
    ],
)
def test_a_plugin_that_fails_is_quarantined_with_its_reason(site: Path, code: str, reason: str) -> None:
    install(site, "bad", code)
    plugin = loaded(site, "bad")
    assert plugin.state == "quarantined"
    assert reason in plugin.reason
    assert plugin.roles == []


def test_two_distributions_of_one_name_are_both_kept_out(site: Path) -> None:
    install(site, "one", "raise RuntimeError", dist="mesyx-one")
    install(site, "one", "raise RuntimeError", dist="other-one")
    assert loaded(site, "one").reason == "mesyx-one and other-one both claim the name one; uninstall one of them"


TWO = """
    @hookimpl
    def mesyx_accesses(): return [provider("submission"), provider("archive")]
    @hookimpl
    def mesyx_ingresses(): return [provider("mx")]
"""


def test_use_names_an_entry_point_or_one_of_its_providers(site: Path) -> None:
    install(site, "mail", TWO)
    plugins = registry(site)
    assert plugins.find("access", "mail.archive").name == "archive"
    assert plugins.find("ingress", "mail").name == "mx"
    with pytest.raises(Refused, match=r'write use = one of "mail.submission", "mail.archive"'):
        plugins.find("access", "mail")
    with pytest.raises(Refused, match="cannot be used for egress: it serves ingress, access"):
        plugins.find("egress", "mail")


def test_built_ins_need_no_prefix() -> None:
    plugins = Registry()
    assert plugins.find("filter", "rules") is plugins.find("filter", "builtin.rules")


def test_a_config_is_refused_for_plugins_that_are_missing_or_broken(site: Path) -> None:
    install(site, "smtp", "raise RuntimeError('no')")
    install(
        site,
        "imap",
        """
        @hookimpl
        def mesyx_accesses(): return [provider("imap")]
    """,
    )
    text = (
        NODE
        + '[ingress.smtp]\n[ingress.mx]\nuse = "smpt"\n[access.imap]\nlisten = "x"\n[access.more]\nuse = "imap"\nliste = 1'
    )
    with pytest.raises(ConfigRefused) as refused:
        registry(site).bind_all(parse(text, Path("mesyx.toml")))
    smtp, mx, more = str(refused.value).splitlines()
    assert smtp.startswith(
        "mesyx.toml: [ingress.smtp] use: the plugin smtp (trial-smtp 1.2) does not work: cannot be imported"
    )
    assert mx == "mesyx.toml: [ingress.mx] use: there is no plugin smpt for ingress; did you mean smtp?"
    assert more == "mesyx.toml: [access.more] liste: unknown key; did you mean listen?"


def test_equal_sections_bind_to_equal_instances(site: Path) -> None:
    install(
        site,
        "imap",
        """
        @hookimpl
        def mesyx_accesses(): return [provider("imap")]
    """,
    )
    plugins, text = registry(site), NODE + '[access.imap]\nlisten = "x"\n'
    first, again = (plugins.bind_all(parse(text, Path("mesyx.toml"))) for _ in range(2))
    changed = plugins.bind_all(parse(text + "[access.b]\nuse = 'imap'", Path("mesyx.toml")))
    assert first == again == changed[:1]
