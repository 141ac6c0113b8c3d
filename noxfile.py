"""`nox` runs what a change must pass; `nox -s "tests(smtp)"` one dist's tests; `nox -l` lists all sessions.

Every test runs against built wheels in an environment of its own, so an undeclared dependency fails.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import tomllib
from pathlib import Path

import nox

nox.needs_version = ">=2025.2"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["lint", "types", "imports", "docs", "tests"]
nox.options.reuse_existing_virtualenvs = True

ROOT = Path(__file__).parent
DIST = ROOT / ".nox" / "dist"
PLUGINS = sorted(p.parent.name.removeprefix("mesyx-") for p in (ROOT / "plugins").glob("mesyx-*/pyproject.toml"))
CORE_TESTS = ["unit", "contract", "simulation", "fuzz"]
ORACLES = ["pyrage>=1.4", "fast-mail-parser>=0.10", "psycopg[binary]>=3.2", "prometheus-client>=0.22"]
XDIST = "pytest-xdist>=3.8"
TWO = ("-n", "2", "--dist", "loadfile")
"""Two files of tests at a time: they wait more than they work."""
SAFE = {"PYTHONSAFEPATH": "1"}
INSTALLED = "import mesyx_core; assert 'site-packages' in mesyx_core.__file__, 'tests must not see the checkout'"
PROJECTS = [ROOT / "plugins" / f"mesyx-{plugin}" for plugin in PLUGINS]
ROLES = ["filter", "ingress", "egress", "transport", "crypto", "access"]
BROKEN = {
    "import": "raise RuntimeError('no luck')\n",
    "hook": "from mesyx_core.api import hookimpl\n\n\n@hookimpl\ndef mesyx_filterz(): return []\n",
}
_built: dict[Path, Path] = {}


def wheel(session: nox.Session, project: Path) -> Path:
    """Build a project's wheel, once a run, as PyPI would see it: without the workspace's sources."""
    if project not in _built:
        out = DIST / project.name
        shutil.rmtree(out, ignore_errors=True)
        build = ["uv", "build", "--wheel", "--no-sources", "--out-dir", str(out), str(project)]
        session.run_install(*build, external=True, silent=True)
        _built[project] = next(out.glob("*.whl"))
    return _built[project]


def requirement(session: nox.Session, name: str, extra: str = "") -> str:
    """The requirement that installs a dist from its fresh wheel: `mesyx` itself, or a plugin by its short name."""
    project = ROOT if name == "mesyx" else ROOT / "plugins" / f"mesyx-{name}"
    dist = "mesyx" if name == "mesyx" else f"mesyx-{name}"
    return f"{dist}{extra} @ {wheel(session, project).as_uri()}"


def install(session: nox.Session, *plugins: str) -> None:
    """The core with its test kit, and plugins, from wheels; a wheel of the same version is installed anew."""
    wheels = [requirement(session, "mesyx", "[testing]"), *(requirement(session, plugin) for plugin in plugins)]
    fresh = [a for name in ("mesyx", *(f"mesyx-{p}" for p in plugins)) for a in ("--reinstall-package", name)]
    session.install(*fresh, *wheels, *ORACLES)


def made(session: nox.Session, folder: Path, name: str, role: str, code: str = "") -> Path:
    """The project of a new plugin; with `code` instead of its declarations if that is given."""
    session.run("mesyx", "plugin", "new", name, "--role", role, "--dir", str(folder), env=SAFE, silent=True)
    project = folder / f"mesyx-{name}"
    if code:
        (project / "src" / f"mesyx_{name.replace('-', '_')}" / "__init__.py").write_text(code)
    return project


def requirements(project: Path) -> list[str]:
    """What a project names as needed; for uv only what is named at its call is direct."""
    about = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    named = [*about.get("dependencies", ()), *about.get("optional-dependencies", {}).get("testing", ())]
    return [each for each in named if not each.startswith("mesyx")]


def editable(session: nox.Session, *tools: str) -> None:
    """The checkout itself, for what reads source instead of running it."""
    projects = [ROOT, *(ROOT / "plugins" / f"mesyx-{plugin}" for plugin in PLUGINS)]
    session.install(*tools, *ORACLES, *(a for p in projects for a in ("-e", f"{p}[testing]" if p == ROOT else str(p))))


def pytest(session: nox.Session, home: Path, *what: str) -> None:
    """Run tests of `home` with the root's settings; what follows `--` on nox's command line is handed on."""
    config = ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(home), "-p", "no:cacheprovider"]
    with session.chdir(home):
        session.run("python", "-c", INSTALLED, env=SAFE, silent=True)
        session.run("pytest", *config, *what, *session.posargs, env=SAFE)


@nox.session
@nox.parametrize("dist", [nox.param("mesyx", id="core"), *[nox.param(p, id=p) for p in PLUGINS]])
def tests(session: nox.Session, dist: str) -> None:
    """One dist's own tests, with nothing else installed."""
    if dist == "mesyx":
        install(session)
        session.install(XDIST)
        pytest(session, ROOT, *TWO, *(f"tests/{name}" for name in CORE_TESTS if (ROOT / "tests" / name).is_dir()))
    else:
        install(session, dist)
        session.install(XDIST)
        home = ROOT / "plugins" / f"mesyx-{dist}"
        pytest(session, home, *TWO, "tests", "--ignore", "tests/scenario", "-m", "not scenario")


@nox.session
def scenario(session: nox.Session) -> None:
    """Several real nodes and real peers: all wheels, as root on Debian 12. Fails when a peer is missing."""
    session.run(str(ROOT / "scripts" / "peers"), "--check", external=True)
    install(session, *PLUGINS)
    session.install(XDIST)
    folders = sorted((ROOT / "plugins").glob("mesyx-*/tests/scenario"))
    marked = [
        file
        for file in sorted((ROOT / "plugins").glob("mesyx-*/tests/test_*.py"))
        if "mark.scenario" in file.read_text()
    ]
    pytest(session, ROOT, *TWO, "tests/scenario", "tests/faults", *map(str, folders + marked))


@nox.session
def corpus(session: nox.Session) -> None:
    """The long form of the scenario with real mail: all 3,000 of MESYX_CORPUS."""
    long_form(session, "tests/scenario/test_corpus.py", "tests/scenario/test_offline.py")


@nox.session
def kill(session: nox.Session) -> None:
    """The long forms of the scenarios with `kill -9`: the gateway 50 times under load, the client 20 times; and as mail
    goes out, 20 times each."""
    long_form(session, "tests/scenario/test_kill.py", "tests/scenario/test_submission_kill.py")


@nox.session
def week(session: nox.Session) -> None:
    """The long form of the week of mixed traffic: ten minutes, in which a node's memory must stay flat."""
    long_form(session, "tests/scenario/test_week.py")


@nox.session
def faults(session: nox.Session) -> None:
    """The campaign of faults, each at every place, or a part of it: `-- tests/faults/test_disk.py`. Notes what came of
    each. `scenario` has its short form."""
    part = any(argument.startswith("tests/") for argument in session.posargs)
    session.install(XDIST)
    long_form(session, "-n", "3", "--dist", "loadfile", *([] if part else ["tests/faults"]))


def long_form(session: nox.Session, *what: str) -> None:
    session.run(str(ROOT / "scripts" / "peers"), "--check", external=True)
    install(session, *PLUGINS)
    session.env["MESYX_FULL"] = "1"
    pytest(session, ROOT, "-s", *what)


@nox.session
def template(session: nox.Session) -> None:
    """Plugins of `mesyx plugin new`, made outside the tree: certified, used by nodes; broken ones are named."""
    install(session, "smtp")
    session.install("pip")
    with tempfile.TemporaryDirectory(prefix="mesyx-template-") as folder:
        trials = [made(session, Path(folder), f"trial-{role}", role) for role in ROLES]
        broken = [made(session, Path(folder), f"broken-{how}", "filter", code) for how, code in BROKEN.items()]
        for project in trials:
            session.run("mesyx", "plugin", "check", str(project), env=SAFE)
        out = Path(folder) / "wheels"
        for project in trials + broken:
            build = ["uv", "build", "--wheel", "--out-dir", str(out), str(project)]
            session.run_install(*build, external=True, silent=True)
        session.run("python", "-m", "pip", "install", "-q", "--no-index", "--force-reinstall", "--no-deps",
                    *map(str, sorted(out.glob("*.whl"))))  # fmt: skip
        session.run("python", "-m", "pip", "check")
        for project in trials:
            shutil.rmtree(project / "src")  # what is certified is what is installed
            with session.chdir(project):
                session.run("pytest", "-q", "-p", "no:cacheprovider", env=SAFE)
        pytest(session, ROOT, "tests/template")


@nox.session
def compose(session: nox.Session) -> None:
    """All wheels in one environment: nothing is missing or at odds, and every plugin works."""
    session.install("pip")
    install(session, *PLUGINS)
    session.run("python", "-m", "pip", "check")
    session.run("mesyx", "plugin", "list", env=SAFE)
    session.run("mesyx", "plugin", "check", env=SAFE)


@nox.session
def minimums(session: nox.Session) -> None:
    """The lowest versions of what the projects name: the unit tests pass with them."""
    wheels = [requirement(session, "mesyx", "[testing]"), *(requirement(session, plugin) for plugin in PLUGINS)]
    fresh = [a for name in ("mesyx", *(f"mesyx-{p}" for p in PLUGINS)) for a in ("--reinstall-package", name)]
    named = [each for project in [ROOT, *PROJECTS] for each in requirements(project)]
    session.install("--resolution", "lowest-direct", *fresh, *wheels, *named, *ORACLES)
    session.run("uv", "pip", "freeze", external=True, silent=True)
    pytest(session, ROOT, "-q", *(f"tests/{name}" for name in CORE_TESTS if (ROOT / "tests" / name).is_dir()))
    for plugin in PLUGINS:
        home = ROOT / "plugins" / f"mesyx-{plugin}"
        pytest(session, home, "-q", "tests", "--ignore", "tests/scenario", "-m", "not scenario")


@nox.session
def types(session: nox.Session) -> None:
    """mypy, strict: the core, each plugin, and the tests."""
    editable(session, "mypy>=1.18", "nox")
    session.run("mypy", "-p", "mesyx_core")
    for plugin in PLUGINS:
        session.run("mypy", f"plugins/mesyx-{plugin}/src")
    session.run("mypy", "tests", "noxfile.py")
    for plugin in PLUGINS:
        with session.chdir(ROOT / "plugins" / f"mesyx-{plugin}"):
            session.run("mypy", "--config-file", str(ROOT / "pyproject.toml"), "tests")


@nox.session
def lint(session: nox.Session) -> None:
    """ruff: rules and layout."""
    session.install("ruff>=0.14")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session
def imports(session: nox.Session) -> None:
    """import-linter: who may import whom; a module without a place is an error."""
    editable(session, "import-linter>=2.5")
    session.run("lint-imports", "--no-cache")


@nox.session
def docs(session: nox.Session) -> None:
    """Builds the docs, every warning an error, and holds them against the code: keys, commands, hooks, snippets."""
    install(session, *PLUGINS)
    session.install("sphinx>=8.1", "myst-parser>=4", "furo>=2025.7")
    pytest(session, ROOT, "tests/docs")
    session.run("sphinx-build", "-q", "-W", "--keep-going", "-b", "html", "docs", str(ROOT / ".nox" / "html"), env=SAFE)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Every parser on inputs made from its seeds: 10^6 each, 2,000 in CI, or as `-- --inputs N` says."""
    install(session, *PLUGINS)
    inputs = [] if "--inputs" in session.posargs else ["--inputs", "2000" if os.environ.get("CI") else "1000000"]
    session.run("python", "tests/fuzz/run.py", *inputs, *session.posargs, env=SAFE)


@nox.session
def bench(session: nox.Session) -> None:
    """Figures beside real peers: `nox -s bench -- accept --json`."""
    install(session, *PLUGINS)
    names = [a for a in session.posargs if not a.startswith("-")] or sorted(
        p.stem for p in (ROOT / "bench").glob("[!_]*.py")
    )
    for name in names:
        session.run("python", f"bench/{name}.py", *(a for a in session.posargs if a.startswith("-")), env=SAFE)
