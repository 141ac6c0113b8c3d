"""What a contract class is: tests that hold for every plugin of a role, gated by the capabilities it declares.

A plugin's author subclasses one, names the provider, and declares what it can. Each capability is tested both ways:
what is declared must hold, and what is not declared must not be claimed. A test that a plugin is known to fail stands
in `expected_failures` with the reason; it must fail then. To override one without that is an error when the class is
made.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, ClassVar, Final, NamedTuple, TypeAlias, TypeVar

import anyio
from pydantic import BaseModel

from mesyx_core.api import Provider
from mesyx_core.testing.context import StandIn

SECONDS: Final = 30.0
"""What one test may take."""
STOP_SECONDS: Final = 10.0
"""What an instance may take to stop."""

Test: TypeAlias = Callable[[Any], Awaitable[None]]
T = TypeVar("T", bound=Callable[..., Any])


def holds(*capabilities: str) -> Callable[[T], T]:
    """This test is for plugins that declare all of these."""

    def mark(test: T) -> T:
        test.declared = frozenset(capabilities)  # type: ignore[attr-defined]
        return test

    return mark


def lacks(*capabilities: str) -> Callable[[T], T]:
    """This test is for plugins that declare none of these: they must not claim them either."""

    def mark(test: T) -> T:
        test.undeclared = frozenset(capabilities)  # type: ignore[attr-defined]
        return test

    return mark


MISSING: Final = AssertionError("a certification brings this method")


def yours(*capabilities: str) -> Callable[[T], T]:
    """This method is for a certification to write, when it declares all of these."""

    def mark(method: T) -> T:
        method.yours = frozenset(capabilities)  # type: ignore[attr-defined]
        return method

    return mark


class Open(NamedTuple):
    """A provider at work: its role object, and the node that it sees."""

    role: Any
    context: StandIn


class Contract:
    """The part that all roles share; subclass the contract of a role."""

    KNOWN: ClassVar[Mapping[str, str]] = {}
    """Capabilities that can be declared, with what each means."""
    tests: ClassVar[Mapping[str, Test]] = {}
    """What a contract demands, by name, whether or not it applies."""
    provider: ClassVar[Provider]
    """What is certified."""
    config: ClassVar[Mapping[str, Any]] = {}
    """Its section as in mesyx.toml; a listener has port 0."""
    capabilities: ClassVar[frozenset[str]] = frozenset()
    """Which of the contract's capabilities it has."""
    expected_failures: ClassVar[Mapping[str, str]] = {}
    """Tests that it fails, each with the reason."""

    def __init_subclass__(cls, *, defines: bool = False) -> None:
        """`defines`: the class is itself a contract, not a plugin's certification."""
        super().__init_subclass__()
        cls.KNOWN = {word: text for base in reversed(cls.__mro__) for word, text in vars(base).get("KNOWN", {}).items()}
        if defines:
            own = {name: test for name, test in vars(cls).items() if name.startswith("test_")}
            inherited = {n: t for base in reversed(cls.__mro__[1:]) for n, t in vars(base).get("tests", {}).items()}
            cls.tests = {**inherited, **own}
        else:
            _fit(cls)

    def settings(self, **over: Any) -> BaseModel:
        """The checked config, with some keys put over it."""
        return self.provider.config.model_validate({**self.config, **over})

    def context(self) -> StandIn:
        """The node that the provider sees; a subclass may prepare it."""
        return StandIn(self.provider.name)

    @asynccontextmanager
    async def opened(self, **over: Any) -> AsyncIterator[Open]:
        """Open the provider, not running yet."""
        async with self.context() as context, self.provider.open(self.settings(**over), context) as role:
            yield Open(role, context)

    @asynccontextmanager
    async def running(self, context: StandIn | None = None, **over: Any) -> AsyncIterator[Open]:
        """Open the provider and run it, from its "up" on; in the end it is stopped."""
        async with (
            context or self.context() as node,
            self.provider.open(self.settings(**over), node) as role,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(role.run)
            with anyio.fail_after(STOP_SECONDS):
                await node.up.wait()
            yield Open(role, node)
            tasks.cancel_scope.cancel()


def _fit(cls: type[Contract]) -> None:
    """Make a certification of a contract: what applies becomes a plain test function, the rest goes."""
    if unknown := sorted(cls.capabilities - cls.KNOWN.keys()):
        raise TypeError(f"{cls.__name__}: no such capability: {', '.join(unknown)}; there are {', '.join(cls.KNOWN)}")
    for name in dir(cls):
        wanted: frozenset[str] | None = getattr(getattr(cls, name, None), "yours", None)
        if hasattr(cls, "provider") and wanted is not None and wanted <= cls.capabilities:
            raise TypeError(f"{cls.__name__}: write {name}(): {getattr(cls, name).__doc__}")
    applying = {name for name, test in cls.tests.items() if _applies(test, cls.capabilities)}
    for name, reason in cls.expected_failures.items():
        if name not in applying or not reason:
            raise TypeError(f"{cls.__name__}: expected_failures: {name} is no test that applies, or has no reason")
    own = {name: vars(base).get(name) for base in reversed(cls.__mro__) for name in cls.tests if _overrides(base, name)}
    if forbidden := sorted(own.keys() - cls.expected_failures.keys()):
        raise TypeError(
            f"{cls.__name__} overrides {', '.join(forbidden)}: a test of the contract is not to be changed; "
            "enter it in expected_failures with the reason"
        )
    for name, test in cls.tests.items():
        made = None
        if name in cls.expected_failures:
            made = _failing(name, test, cls.expected_failures[name], own.get(name))
        elif name in applying:
            made = _plain(name, test)
        setattr(cls, name, made)


def _applies(test: Test, capabilities: frozenset[str]) -> bool:
    declared: frozenset[str] = getattr(test, "declared", frozenset())
    undeclared: frozenset[str] = getattr(test, "undeclared", frozenset())
    return declared <= capabilities and not undeclared & capabilities


def _overrides(base: type, name: str) -> bool:
    """Whether a class brings a test of its own under a name of the contract's."""
    if not issubclass(base, Contract) or "tests" in vars(base):
        return False
    own = vars(base).get(name)
    return own is not None and not hasattr(own, "contract")


def _plain(name: str, test: Test) -> Callable[[Any], None]:
    def run(self: Any) -> None:
        perform(test, self)

    return _named(run, name, test)


def _failing(name: str, test: Test, reason: str, instead: Any) -> Callable[[Any], None]:
    """Holds only if the contract's test fails, and then what the plugin tests instead, if anything."""

    def run(self: Any) -> None:
        try:
            perform(test, self)
        except Exception:
            if instead is not None:
                perform(instead, self)
            return
        raise AssertionError(
            f"{name} holds, though it is expected to fail ({reason}): take it out of expected_failures"
        )

    return _named(run, name, test)


def _named(run: Callable[[Any], None], name: str, test: Test) -> Callable[[Any], None]:
    run.__name__, run.__doc__ = name, test.__doc__
    run.contract = True  # type: ignore[attr-defined]
    return run


def perform(test: Callable[[Any], Any], self: Any) -> None:
    """Run one test on a loop of its own, as nodes run, within its time."""

    async def main() -> None:
        with anyio.fail_after(SECONDS):
            result = test(self)
            if isinstance(result, Awaitable):
                await result

    with unwrapped():
        anyio.run(main, backend_options={"use_uvloop": True})


@contextmanager
def unwrapped() -> Iterator[None]:
    """Let the one exception of a task group out as itself."""
    try:
        yield
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        raise error from None


@contextmanager
def refused(*kinds: type[BaseException]) -> Iterator[None]:
    """What is inside must raise one of these."""
    words = " or ".join(kind.__name__ for kind in kinds)
    try:
        with unwrapped():
            yield
    except kinds:
        return
    raise AssertionError(f"nothing was raised; {words} was due")


async def soon(what: str, check: Callable[[], Any], seconds: float = 5.0) -> None:
    """Wait until `check` gives something true."""
    with anyio.move_on_after(seconds):
        while not check():  # noqa: ASYNC110 - what is waited for has no event
            await anyio.sleep(0.005)
        return
    raise AssertionError(f"not within {seconds:g} s: {what}")
