"""What systemd and a service tell one another: sockets that it has bound, readiness, signs of life (sd_notify(3),
sd_listen_fds(3))."""

from __future__ import annotations

import ipaddress
import os
import socket
import time
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any, Final, TypeAlias

import anyio

FIRST: Final = 3
"""The first descriptor that is handed over (SD_LISTEN_FDS_START)."""
MOST: Final = 256


class HandedOver:
    """Sockets that the service manager has bound for this process. They stay open as long as it lives: an instance gets
    copies, and closes those."""

    def __init__(self, held: Sequence[socket.socket] = ()) -> None:
        self._held = {_place(each.family, each.getsockname()): each for each in held}
        self._taken: set[Place] = set()

    def take(self, family: int, where: Any) -> socket.socket | None:
        """A copy of the one at this address."""
        place = _place(family, where)
        each = self._held.get(place)
        if each is None:
            return None
        self._taken.add(place)
        copy = each.dup()
        copy.setblocking(False)
        return copy

    @property
    def idle(self) -> list[str]:
        """Addresses that no instance has asked for."""
        return [f"{host}:{port}" for _, host, port in self._held.keys() - self._taken]


Place: TypeAlias = tuple[int, str, int]


def _place(family: int, where: Any) -> Place:
    return int(family), str(ipaddress.ip_address(str(where[0]).partition("%")[0])), int(where[1])


NONE: Final = HandedOver()


def inherited(environment: MutableMapping[str, str] = os.environ) -> list[socket.socket]:
    """Listening stream sockets that were handed over to this process, none of whose children shall have them. Asked a
    second time, there are none."""
    pid, count = environment.pop("LISTEN_PID", ""), environment.pop("LISTEN_FDS", "")
    environment.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()) or not count.isdecimal() or not 0 < int(count) <= MOST:
        return []
    found = []
    for descriptor in range(FIRST, FIRST + int(count)):
        os.set_inheritable(descriptor, False)
        each = socket.socket(fileno=descriptor)
        if each.family in (socket.AF_INET, socket.AF_INET6) and each.type == socket.SOCK_STREAM:
            each.setblocking(False)
            found.append(each)
        else:
            each.detach()
    return found


class Notifier:
    """Tells the service manager; without one, nobody."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        path = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + path[1:] if path.startswith("@") else path
        span, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", str(os.getpid()))
        self.watchdog: float | None = int(span) / 1e6 if span.isdecimal() and pid == str(os.getpid()) else None
        """Seconds within which a sign of life is awaited."""

    def tell(self, **values: Any) -> None:
        """Send these variables. What cannot be sent is lost: the manager will judge by its own clock."""
        if not self._address.startswith(("/", "\0")):
            return
        text = "\n".join(f"{name}={value}" for name, value in values.items())
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as out:
            try:
                out.sendto(text.encode(), self._address)
            except OSError:
                return

    def ready(self, status: str) -> None:
        self.tell(READY=1, STATUS=status)

    def reloading(self) -> None:
        self.tell(RELOADING=1, MONOTONIC_USEC=time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000)

    def stopping(self) -> None:
        self.tell(STOPPING=1, STATUS="stopping")

    async def live(self) -> None:
        """Signs of life for as long as the event loop turns."""
        if self.watchdog is None:
            return
        while True:
            self.tell(WATCHDOG=1)
            await anyio.sleep(self.watchdog / 3)
