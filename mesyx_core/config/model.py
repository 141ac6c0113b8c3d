"""What mesyx.toml holds: the [node] table and a section for each instance of a plugin."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias, TypeVar, get_args

from pydantic import BaseModel, ByteSize, ConfigDict, Field, SecretStr, ValidationError, field_validator

from mesyx_core.config.anchor import anchored
from mesyx_core.config.duration import Duration
from mesyx_core.config.refusal import ConfigRefused, Problem, describe, suggestion
from mesyx_core.config.secret import fill_in, in_clear
from mesyx_core.config.sending import Sending

Role: TypeAlias = Literal["accept", "exchange", "client", "reencrypt"]
SectionKind: TypeAlias = Literal["ingress", "egress", "transport", "crypto", "filter", "access"]
KINDS: Final[tuple[SectionKind, ...]] = get_args(SectionKind)
NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$"
LIMIT: Final = 1 << 20  # a config above 1 MiB is not a config
Model = TypeVar("Model", bound=BaseModel)


class NodeConfig(BaseModel):
    """The [node] table."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True)

    name: Annotated[str, Field(pattern=NAME, examples=["mx1"])]
    """What this node is called, in status and towards its networks: letters, digits, `_`, `.` and `-`."""
    roles: Annotated[tuple[Role, ...], Field(min_length=1, examples=[["accept", "exchange"]])]
    """What this node offers to do; a store's manifest decides what it may."""
    state: Annotated[Path, Field(examples=["state"])] = Path("state")
    """Folder of all that this node keeps, relative to this file."""
    database: Annotated[SecretStr, Field(examples=["sqlite"])] = SecretStr("sqlite")
    """`sqlite` (a file in the state folder) or the `postgresql://` URL of a database of its own, for which
    `mesyx[postgresql]` must be installed. Large bodies stay files in the state folder."""
    acknowledge: Literal["durable", "replicated"] = "durable"
    """When a network is told that its message was taken: once it is on this node's disk, or on one peer's as well."""
    size_limit: Annotated[ByteSize, Field(gt=0, examples=["50 MiB"])] = ByteSize(50 << 20)
    """Bytes of the largest message that this node takes in."""
    body_limit: Annotated[ByteSize, Field(gt=0, examples=["1 GiB"])] = ByteSize(1 << 30)
    """Bytes of the largest sealed body that this node fetches from others. A store's node may name any size; what is
    larger stays where it is, and `mesyx doctor` says so. Keep it above `size_limit` of every node of its stores."""
    store_quota: Annotated[ByteSize, Field(examples=["10 GiB"])] = ByteSize(10 << 30)
    """Disk that one store may fill before this node answers strangers "try again later"."""
    disk_reserve: Annotated[ByteSize, Field(examples=["256 MiB"])] = ByteSize(256 << 20)
    """Free disk below which this node takes in nothing more."""
    resume_after: Annotated[Duration, Field(examples=["1h"])] = Duration(3600)
    """How long, after a start, what waits to be sent waits for a session with another member of its store. A gateway
    that was restored from a backup hears there what it has sent since."""
    connections: Annotated[int, Field(ge=1, le=1_000_000)] = 1000
    """Connections that all listeners together hold open. With more, who comes gets the place of a stranger that brings
    next to nothing for ten seconds, or of an address that has many; members, and who has logged in, stay."""
    peer_connections: Annotated[int, Field(ge=1, le=1_000_000)] = 100
    """Connections from one address, or from one /64 network in IPv6."""

    metrics: Annotated[str, Field(examples=["127.0.0.1:9464"])] = ""
    """Address of loopback where Prometheus can read how the node does, with `mesyx[metrics]` installed. Empty: none."""
    log: Literal["text", "json"] = "text"
    """How the log on stderr is written: lines for people, or a line of JSON for each record."""

    @field_validator("metrics")
    @classmethod
    def _loopback(cls, value: str) -> str:
        host, colon, port = value.rpartition(":")
        address = _address(host)
        local = host == "localhost" or (address is not None and address.is_loopback)
        if value and not (colon and port.isdecimal() and int(port) < 65536 and local):
            raise ValueError('must be HOST:PORT of loopback, like "127.0.0.1:9464"; a proxy may show it to others')
        return value

    @field_validator("database")
    @classmethod
    def _known_database(cls, value: SecretStr) -> SecretStr:
        if value.get_secret_value() != "sqlite" and not value.get_secret_value().startswith("postgresql://"):
            raise ValueError('names no known database; write "sqlite" or "postgresql://USER@HOST/NAME"')
        return value


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host.strip("[]"))
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Section:
    """One instance's table, unchecked until the plugin's model is known."""

    file: Path
    kind: SectionKind
    name: str
    use: str
    table: Mapping[str, Any] = field(default_factory=dict)
    """The plugin's own keys."""
    sending: Sending = field(default_factory=Sending)
    """For an egress: the keys that all of them have."""

    @property
    def path(self) -> str:
        """Like `ingress.mx`, as in TOML."""
        return f"{self.kind}.{self.name}"

    def check(self, model: type[Model]) -> Model:
        """The table as `model`, secrets read from their files. Raises ConfigRefused with everything that is wrong."""
        table = anchored(model, self.table, self.file.parent.absolute())
        return checked(model, table, self.file, self.path)

    def warnings(self, model: type[BaseModel]) -> list[Problem]:
        """What works but should not stay so: secrets in clear in a file that others can read."""
        return in_clear(model, self.table, self.file, self.path)

    def refusal(self, what: str, remedy: str, key: str = "use") -> ConfigRefused:
        """For those who find a fault later, like a plugin that is missing."""
        return ConfigRefused([Problem(self.file, f"[{self.path}] {key}".rstrip(), what, remedy)])


@dataclass(frozen=True, slots=True)
class Config:
    """A checked mesyx.toml."""

    file: Path
    node: NodeConfig
    sections: tuple[Section, ...] = ()

    @property
    def state(self) -> Path:
        """The state folder, absolute."""
        return (self.file.parent / self.node.state).absolute()

    def of(self, kind: SectionKind) -> list[Section]:
        """The instances of one kind, in the file's order."""
        return [section for section in self.sections if section.kind == kind]

    def warnings(self) -> list[Problem]:
        """What [node] itself should not leave so."""
        table = {} if self.node.database.get_secret_value() == "sqlite" else {"database": ""}
        return in_clear(NodeConfig, table, self.file, "node") if "@" in self.node.database.get_secret_value() else []


def load(file: Path) -> Config:
    """Read and check a config file. Raises ConfigRefused with everything that is wrong with it."""
    try:
        with file.open("rb") as stream:
            data = stream.read(LIMIT + 1)
    except FileNotFoundError:
        raise _refused(file, "there is no such file", "run `mesyx init DIR`, or name the file with -c FILE") from None
    except OSError as error:
        raise _refused(file, f"cannot be read ({error.strerror})", "check its path and permissions") from None
    if len(data) > LIMIT:
        raise _refused(file, "is larger than 1 MiB", "this is hardly a config; check the path") from None
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise _refused(file, "is not UTF-8", "save it as UTF-8") from None
    return parse(text, file)


def parse(text: str, file: Path) -> Config:
    """Check a config's text; `file` is where relative paths start and what refusals name."""
    try:
        tables = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise _refused(file, f"is not TOML: {error}".replace("\n", " "), "mend that line") from None
    problems: list[Problem] = []
    for key in tables.keys() - {"node", *KINDS}:
        problems.append(Problem(file, f"[{key}]", "unknown table", suggestion(key, ["node", *KINDS], "[{}]")))
    sections = [s for kind in KINDS for s in _sections(tables.get(kind, {}), kind, file, problems)]
    node = tables.get("node")
    if not isinstance(node, dict):
        problems.append(
            Problem(file, "[node]", "is missing", 'begin the file with [node], name = "…" and roles = ["…"]')
        )
        raise ConfigRefused(problems)
    try:
        checked_node = checked(NodeConfig, node, file, "node")
    except ConfigRefused as refused:
        raise ConfigRefused([*refused.problems, *problems]) from None
    if problems:
        raise ConfigRefused(problems)
    return Config(file, checked_node, tuple(sections))


def checked(model: type[Model], table: Mapping[str, Any], file: Path, section: str) -> Model:
    """A table as its model, or ConfigRefused."""
    problems: list[Problem] = []
    filled = fill_in(model, table, file, section, problems)
    try:
        value = model.model_validate(filled)
    except ValidationError as error:
        raise ConfigRefused([*problems, *describe(error, model, filled, file, section)]) from None
    if problems:
        raise ConfigRefused(problems)
    return value


def _sections(tables: Any, kind: SectionKind, file: Path, problems: list[Problem]) -> list[Section]:
    if not isinstance(tables, dict):
        problems.append(Problem(file, kind, "is a value", f"make it tables: [{kind}.NAME]"))
        return []
    found: list[Section] = []
    for name, table in tables.items():
        if not isinstance(table, dict):
            problems.append(Problem(file, f"[{kind}] {name}", "has no instance", f"put it under [{kind}.NAME]"))
            continue
        if not re.match(NAME, name):
            remedy = "use letters, digits, `_`, `.` and `-`, at most 63"
            problems.append(Problem(file, f"[{kind}.{name!r}]", "is no name for an instance", remedy))
            continue
        use = table.get("use", name)
        if not isinstance(use, str) or not use:
            problems.append(
                Problem(file, f"[{kind}.{name}] use", "must be a string", 'write the plugin\'s name, like use = "smtp"')
            )
            continue
        common = Sending.model_fields if kind == "egress" else {}
        own = {key: value for key, value in table.items() if key != "use" and key not in common}
        try:
            sending = checked(Sending, {key: table[key] for key in common if key in table}, file, f"{kind}.{name}")
        except ConfigRefused as refused:
            problems += refused.problems
            continue
        found.append(Section(file, kind, name, use, own, sending))
    return found


def _refused(file: Path, what: str, remedy: str) -> ConfigRefused:
    return ConfigRefused([Problem(file, "", what, remedy)])
