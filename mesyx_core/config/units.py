"""systemd units for a node: its service, and a socket unit that binds its ports, so that nothing runs as root."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from mesyx_core.config.model import Config

WATCHDOG: Final = 60
"""Seconds without a sign of life after which the service is started again."""
START: Final = "30min"
"""A large journal may first be brought up to a new release's schema."""
STOP: Final = 20
CONFIG: Final = 3
"""The exit code of a config that cannot be run: starting again cannot help."""

_HARDENED: Final = """\
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
{home}
PrivateTmp=yes
PrivateDevices=yes
PrivateUsers=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RemoveIPC=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallFilter=prlimit64 setrlimit
SystemCallErrorNumber=EPERM
UMask=0077"""


def units(
    config: Config, command: Path, user: str, passphrase_file: Path | None = None, writable: Sequence[Path] = ()
) -> dict[str, str]:
    """Unit file name to text. `command` is the mesyx to run; sockets are bound for every `listen` in the config. The
    service writes to its state and to what is `writable` alone."""
    name = f"mesyx-{re.sub(r'[^A-Za-z0-9_.-]', '-', config.node.name)}"
    streams = sorted(set(_streams(config)), key=lambda each: (int(each.rpartition(":")[2]), each))
    sockets = {f"{name}.socket": _socket(config, streams)} if streams else {}
    return {f"{name}.service": _service(config, command, user, passphrase_file, writable, [*sockets]), **sockets}


def _streams(config: Config) -> Iterator[str]:
    for section in config.sections:
        listen = section.table.get("listen")
        if not isinstance(listen, str) or not listen.rpartition(":")[2].isdecimal():
            continue
        host, _, port = listen.rpartition(":")
        if port == "0":
            continue  # any port will do: nobody can know it before
        if host:
            if _is_address(host.strip("[]")):  # a name may stand for other addresses tomorrow
                yield listen
        else:
            yield f"0.0.0.0:{port}"
            yield f"[::]:{port}"


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _service(
    config: Config,
    command: Path,
    user: str,
    passphrase_file: Path | None,
    writable: Sequence[Path],
    sockets: list[str],
) -> str:
    file, state = config.file.absolute(), config.state
    words = [str(command), "run", "-c", str(file)]
    credential = []
    if passphrase_file is not None:
        credential = [f"LoadCredential=passphrase:{_escaped(str(passphrase_file.absolute()))}"]
        words += ["--passphrase-file", "%d/passphrase"]
    exec_ = " ".join(word if word.startswith("%d/") else _quoted(word) for word in words)
    used = (file, state, command, *(each.absolute() for each in writable))
    within_home = any(str(path).startswith(("/home/", "/root/", "/run/user/")) for path in used)
    home = "ProtectHome=read-only" if within_home else "ProtectHome=yes"
    lines = [
        "[Unit]",
        f"Description=Mesyx node {_escaped(config.node.name)}",
        "Documentation=man:mesyx(1)",
        "Wants=network-online.target",
        " ".join(["After=network-online.target", *sockets]),
        *(f"Requires={each}" for each in sockets),
        "# However long its database or its disk is away: what comes in waits for it.",
        "StartLimitIntervalSec=0",
        "",
        "[Service]",
        "Type=notify",
        "NotifyAccess=main",
        f"User={user}",
        f"ExecStart={exec_}",
        "ExecReload=/bin/kill -HUP $MAINPID",
        *credential,
        f"WatchdogSec={WATCHDOG}",
        f"TimeoutStartSec={START}",
        f"TimeoutStopSec={STOP}",
        "Restart=on-failure",
        "RestartSec=5",
        f"RestartPreventExitStatus={CONFIG}",
        "LimitNOFILE=65536",
        "",
        "# What is in memory stays there: no core dumps, no swap.",
        "LimitCORE=0",
        "MemorySwapMax=0",
        "",
        f"ReadWritePaths={_quoted(str(state))}",
        *(f"ReadWritePaths={_quoted(f'-{each.absolute()}')}" for each in writable),  # -: it may be a disk not there yet
        *_HARDENED.format(home=home).splitlines(),
        "",
        "[Install]",
        "WantedBy=multi-user.target",
    ]
    return "\n".join(lines) + "\n"


def _socket(config: Config, streams: list[str]) -> str:
    lines = [
        "[Unit]",
        f"Description=Ports of the Mesyx node {_escaped(config.node.name)}",
        "",
        "[Socket]",
        *(f"ListenStream={each}" for each in streams),
        "BindIPv6Only=ipv6-only",
        "Backlog=1024",
        "NoDelay=yes",
        "",
        "[Install]",
        "WantedBy=sockets.target",
    ]
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    """For systemd, which replaces what follows a per cent sign."""
    return text.replace("%", "%%")


def _quoted(text: str) -> str:
    escaped = _escaped(text).replace("$", "$$")
    if re.fullmatch(r"[A-Za-z0-9_./%:@+,=-]+", escaped):
        return escaped
    return '"' + escaped.replace("\\", "\\\\").replace('"', '\\"') + '"'
