"""The typed registry: from a section's `use` to the provider that it names."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Final, NamedTuple

from pydantic import BaseModel

from mesyx_core.api.errors import Refused
from mesyx_core.api.provider import Command, Provider
from mesyx_core.config import KINDS, Config, ConfigRefused, Problem, Section, SectionKind
from mesyx_core.config.refusal import closest, suggestion
from mesyx_core.plugins.plugin import Plugin, Source, installed, load

BUILTIN: Final = "builtin"


class Instance(NamedTuple):
    """A section, the provider that it uses, and its checked config. Equal instances need no restart."""

    section: Section
    provider: Provider
    config: BaseModel


class Registry:
    """Plugins by entry-point name. Nothing is imported before it is asked for by name."""

    def __init__(
        self,
        entry_points: Iterable[importlib.metadata.EntryPoint] | None = None,
        *,
        beside: Mapping[str, object] | None = None,
    ) -> None:
        """`beside` are plugins that are not installed, as what their entry point would name: for tests."""
        self._entry_points = entry_points if entry_points is None else tuple(entry_points)
        self._beside = {name: [Source(name, "", "", partial(_same, it))] for name, it in (beside or {}).items()}
        self._sources = {**installed(self._entry_points), **self._beside}
        self._loaded: dict[str, Plugin] = {}

    def refresh(self) -> None:
        """Look again at what is installed, and try again what did not work; what is loaded stays as it is."""
        self._sources = {**installed(self._entry_points), **self._beside}
        self._loaded = {name: each for name, each in self._loaded.items() if each.state == "loaded"}

    @property
    def names(self) -> list[str]:
        """Every installed plugin, by metadata alone."""
        return list(self._sources)

    def load(self, name: str) -> Plugin | None:
        """The plugin, imported the first time; in quarantine when that fails. None when no such plugin is installed."""
        if name not in self._loaded and name in self._sources:
            self._loaded[name] = load(self._sources[name])
        return self._loaded.get(name)

    def implementation(self, name: str) -> object:
        """What the entry point names. Raises what importing it raises."""
        return self._sources[name][0].load()

    def list(self, *, imported: bool = False) -> list[Plugin]:
        """All plugins by name; with `imported`, every one is loaded to learn its roles and whether it works."""
        for name in self._sources if imported else ():
            self.load(name)
        return [self._loaded.get(name) or _known(self._sources[name][0]) for name in self._sources]

    def find(self, kind: SectionKind, use: str) -> Provider:
        """The provider that `use` names: ENTRYPOINT, ENTRYPOINT.PROVIDER, or a built-in's name. Raises Refused."""
        entry, _, named = use.partition(".")
        if entry not in self._sources and not named:
            entry, named = BUILTIN, use
        plugin = self.load(entry)
        if plugin is None or (entry == BUILTIN and not self._has(plugin, kind, named)):
            raise Refused(f"there is no plugin {use} for {kind}", self._instead(kind, use))
        if plugin.state == "quarantined":
            raise Refused(
                f"the plugin {entry} ({plugin.dist} {plugin.version}) does not work: {plugin.reason}",
                "mend or upgrade it",
            )
        return _choose(plugin, kind, named)

    def bind(self, section: Section) -> Instance:
        """The section with its provider and checked config. Raises ConfigRefused."""
        try:
            provider = self.find(section.kind, section.use)
        except Refused as refused:
            raise section.refusal(refused.what, refused.remedy) from None
        return Instance(section, provider, section.check(provider.config))

    def bind_all(self, config: Config) -> tuple[Instance, ...]:
        """Every instance of a config. Raises ConfigRefused with all that is wrong in all sections."""
        bound: list[Instance] = []
        problems: list[Problem] = []
        for section in config.sections:
            try:
                bound.append(self.bind(section))
            except ConfigRefused as refused:
                problems += refused.problems
        if problems:
            raise ConfigRefused(problems)
        return tuple(bound)

    def commands(self, name: str) -> tuple[Command, ...]:
        """The commands under a plugin's name. Raises Refused when it is in quarantine; empty when there is none."""
        plugin = self.load(name)
        if plugin is not None and plugin.state == "quarantined":
            raise Refused(
                f"the plugin {name} ({plugin.dist} {plugin.version}) does not work: {plugin.reason}",
                "mend or upgrade it",
            )
        return plugin.commands if plugin else ()

    def models(self) -> Mapping[SectionKind, Mapping[str, type[BaseModel]]]:
        """Config models of all plugins that work, by kind and by what `use` can be; the JSON schema is made from it."""
        found: dict[SectionKind, dict[str, type[BaseModel]]] = {kind: {} for kind in KINDS}
        for plugin in self.list(imported=True):
            for kind, providers in plugin.providers.items():
                found[kind].update((use_of(plugin, kind, p), p.config) for p in providers)
        return found

    def _has(self, plugin: Plugin, kind: SectionKind, name: str) -> bool:
        return plugin.state == "quarantined" or any(p.name == name for p in plugin.providers[kind])

    def _instead(self, kind: SectionKind, use: str) -> str:
        known = [name for name in self._sources if name != BUILTIN]
        builtin = self.load(BUILTIN)
        known += [p.name for p in builtin.providers.get(kind, ())] if builtin else []
        if closest(use, known):  # no word of installing: a misspelt name could be somebody's trap
            return suggestion(use, known)
        return f"{suggestion(use, known)}; or install the distribution that brings it"


def use_of(plugin: Plugin, kind: SectionKind, provider: Provider) -> str:
    """The shortest `use` that names a provider."""
    if plugin.name == BUILTIN:
        return provider.name
    if provider.name == plugin.name or len(plugin.providers[kind]) == 1:
        return plugin.name
    return f"{plugin.name}.{provider.name}"


def _choose(plugin: Plugin, kind: SectionKind, named: str) -> Provider:
    providers = plugin.providers[kind]
    if not providers:
        roles = ", ".join(plugin.roles) or "nothing"
        raise Refused(f"the plugin {plugin.name} cannot be used for {kind}", f"it serves {roles}")
    wanted = [p for p in providers if p.name == (named or plugin.name)]
    if wanted or (len(providers) == 1 and not named):
        return (wanted or providers)[0]
    choices = ", ".join(f'"{plugin.name}.{p.name}"' for p in providers)
    raise Refused(
        f"the plugin {plugin.name} has no single {kind} called {named or plugin.name}", f"write use = one of {choices}"
    )


def _same(implementation: object) -> object:
    return implementation


def _known(source: Source) -> Plugin:
    return Plugin(name=source.name, dist=source.dist, version=source.version)
