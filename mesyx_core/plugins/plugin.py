"""One plugin: an entry point of group `mesyx`, what it declares, or why it is in quarantine."""

from __future__ import annotations

import importlib.metadata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import pluggy
from pydantic import BaseModel

from mesyx_core.api.provider import PROJECT, Command, Hooks, Provider
from mesyx_core.config import SectionKind
from mesyx_core.config.refusal import suggestion

GROUP: Final = "mesyx"
HOOKS: Final[Mapping[str, SectionKind]] = MappingProxyType(
    {
        "mesyx_ingresses": "ingress",
        "mesyx_egresses": "egress",
        "mesyx_transports": "transport",
        "mesyx_cryptos": "crypto",
        "mesyx_filters": "filter",
        "mesyx_accesses": "access",
    }
)
COMMANDS: Final = "mesyx_commands"
State: TypeAlias = Literal["installed", "loaded", "quarantined"]


class Source(NamedTuple):
    """An entry point as its distribution's metadata has it; nothing is imported yet."""

    name: str
    dist: str
    version: str
    load: Callable[[], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """What is known of a plugin. Providers and commands are there only when it is loaded."""

    name: str
    dist: str
    version: str
    state: State = "installed"
    reason: str = ""
    """Why it is in quarantine."""
    providers: Mapping[SectionKind, tuple[Provider, ...]] = field(default_factory=dict)
    commands: tuple[Command, ...] = ()

    @property
    def roles(self) -> list[str]:
        """The kinds of sections it can serve."""
        return [kind for kind, providers in self.providers.items() if providers]


class Unfit(Exception):
    """What a plugin declares is not what this api takes; the message says what."""


def installed(entry_points: Iterable[importlib.metadata.EntryPoint] | None = None) -> dict[str, list[Source]]:
    """Sources by entry-point name, by metadata alone. More than one of a name means that two distributions claim it."""
    found: dict[str, dict[tuple[str, str], Source]] = {}
    for point in importlib.metadata.entry_points(group=GROUP) if entry_points is None else entry_points:
        dist, version = (point.dist.name, point.dist.version) if point.dist else ("", "")
        # an editable install may be listed twice: once by its folder, once by its dist-info
        found.setdefault(point.name, {})[dist, point.value] = Source(point.name, dist, version, point.load)
    return {name: list(found[name].values()) for name in sorted(found)}


def load(sources: list[Source]) -> Plugin:
    """Import a plugin and call its hooks, each alone. Never raises: what fails is quarantined with its reason."""
    source = sources[0]
    plugin = Plugin(name=source.name, dist=source.dist, version=source.version)
    if len(sources) > 1:
        dists = " and ".join(sorted(s.dist or "?" for s in sources))
        return _quarantined(plugin, f"{dists} both claim the name {source.name}; uninstall one of them")
    try:
        return _declared(plugin, source.load())
    except Unfit as error:
        return _quarantined(plugin, str(error))
    except (Exception, SystemExit) as error:
        return _quarantined(plugin, f"cannot be imported: {_one_line(error)}")


def _quarantined(plugin: Plugin, reason: str) -> Plugin:
    return Plugin(name=plugin.name, dist=plugin.dist, version=plugin.version, state="quarantined", reason=reason)


def _declared(plugin: Plugin, implementation: object) -> Plugin:
    results = _call_hooks(plugin.name, implementation)
    providers = {kind: _providers(hook, results.get(hook, [])) for hook, kind in HOOKS.items()}
    return Plugin(
        name=plugin.name,
        dist=plugin.dist,
        version=plugin.version,
        state="loaded",
        providers=providers,
        commands=_commands(plugin.name, results.get(COMMANDS, [])),
    )


def _call_hooks(name: str, implementation: object) -> dict[str, Any]:
    """What each hook of one plugin returns. Every plugin has a manager of its own, so that none can disturb another."""
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(Hooks)
    try:
        manager.register(implementation, name)
    except pluggy.PluginValidationError as error:
        raise Unfit(f"wrong api: {_sentence(error)}; hooks take no arguments") from None
    callers = manager.get_hookcallers(implementation) or []
    for caller in callers:
        if not caller.has_spec():
            raise Unfit(f"wrong api: there is no hook {caller.name}; {suggestion(caller.name, [*HOOKS, COMMANDS])}")
    if not callers:
        raise Unfit("declares nothing: it has no function marked with @hookimpl")
    results: dict[str, Any] = {}
    for caller in callers:
        for hook in caller.get_hookimpls():
            try:
                results[caller.name] = hook.function()
            except (Exception, SystemExit) as error:
                raise Unfit(f"{caller.name} raises {_one_line(error)}") from None
    return results


def _providers(hook: str, result: object) -> tuple[Provider, ...]:
    if not isinstance(result, list | tuple) or not all(isinstance(p, Provider) for p in result):
        raise Unfit(f"wrong api: {hook} must return a list of Provider")
    for name, count in Counter(p.name for p in result).items():
        if count > 1:
            raise Unfit(f"{hook} returns {count} providers called {name}")
    for provider in result:
        _check_model(f"{hook}: {provider.name}", "config", provider.config)
        if provider.account is not None:
            _check_model(f"{hook}: {provider.name}", "account", provider.account)
        if (provider.account is None) != (provider.open_account is None):
            raise Unfit(f"{hook}: {provider.name} must have both account and open_account, or none")
    return tuple(result)


def _check_model(where: str, what: str, model: object) -> None:
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        raise Unfit(f"wrong api: {where}: {what} must be a pydantic model")
    if model.model_config.get("extra") != "forbid":
        raise Unfit(f'{where}: {what} must refuse unknown keys (ConfigDict(extra="forbid"))')
    if "use" in model.model_fields:
        raise Unfit(f"{where}: {what} must have no field called use, which names the plugin")


def _commands(name: str, result: object) -> tuple[Command, ...]:
    if not isinstance(result, list | tuple) or not all(isinstance(c, Command) for c in result):
        raise Unfit(f"wrong api: {COMMANDS} must return a list of Command")
    for command in result:
        if len(command.words) < 2 or command.words[0] != name:
            raise Unfit(f"{COMMANDS}: {' '.join(command.words) or '(no words)'} must begin with {name} and a verb")
    return tuple(result)


def _sentence(error: Exception) -> str:
    """Pluggy's message without the lines that show the plugin's repr."""
    lines = [line for line in str(error).splitlines() if line and not line.startswith(("Plugin ", "plugin "))]
    return " ".join(" ".join(lines).split()) or type(error).__name__


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
