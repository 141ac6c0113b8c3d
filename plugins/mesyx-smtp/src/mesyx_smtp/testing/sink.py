"""A mail server that does what a test tells it to, however rude."""

from __future__ import annotations

import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import BinaryIO, Final

from mesyx_smtp.testing.serving import TcpServer, serving

EXTENSIONS: Final = ("PIPELINING", "SIZE 20000000", "8BITMIME", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES")
SILENCE: Final = ""
"""As a reply: say nothing, and wait until the client gives up."""
HANG_UP: Final = "hang up"
"""As a reply: close the connection without a word."""


@dataclass(slots=True)
class Received:
    """One message as it came over the wire, with the commands that made its envelope."""

    mail: str
    recipients: list[str] = field(default_factory=list)
    content: bytes = b""
    """Dots undoubled."""
    hello: str = ""
    secure: bool = False


class Connection:
    """One client's connection, in blocking words."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._file: BinaryIO = sock.makefile("rb")

    def say(self, text: str | bytes) -> None:
        """Send as it is; a str gets its CRLF."""
        self._sock.sendall(text if isinstance(text, bytes) else f"{text}\r\n".encode())

    def hear(self) -> str:
        """The next line, without CRLF. Raises EOFError when the client is gone."""
        line = self._file.readline()
        if not line.endswith(b"\r\n"):
            raise EOFError
        return line[:-2].decode("utf-8", "surrogateescape")

    def content(self) -> bytes:
        """All up to CRLF.CRLF, dots undoubled."""
        lines: list[bytes] = []
        while (line := self._file.readline()) != b".\r\n":
            if not line:
                raise EOFError
            lines.append(line.removeprefix(b"."))
        return b"".join(lines)

    def wait(self) -> None:
        """Until the client closes."""
        while self._file.read(65536):
            pass

    def secure(self, context: ssl.SSLContext) -> None:
        """TLS as the server."""
        self._sock = context.wrap_socket(self._sock, server_side=True)
        self._file = self._sock.makefile("rb")

    def hang_up(self) -> None:
        self._file.close()
        self._sock.close()


class Sink(AbstractContextManager["Sink"]):
    """Takes all mail while the block is open, but answers what begins with a key of `replies` with its value; the key
    "." is the end of the content, "" the greeting. `script` has a connection to itself instead."""

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        replies: Mapping[str, str | Sequence[str]] | None = None,
        extensions: Sequence[str] = EXTENSIONS,
        tls: ssl.SSLContext | None = None,
        script: Callable[[Connection], None] | None = None,
        name: str = "sink.example.net",
    ) -> None:
        self.received: list[Received] = []
        self.commands: list[str] = []
        self.connections = 0
        self.peers: list[str] = []
        """Addresses that were connected from."""
        self.replies = dict(replies or {})
        """A sequence is worked off, one value a time; its last one stays."""
        self.name = name
        self._extensions = [*extensions, *(["STARTTLS"] if tls else [])]
        self._tls = tls
        self._script = script
        self._lock = threading.Lock()
        self._stack = ExitStack()
        handle = self._handle

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                handle(self.request)

        self._server = TcpServer((host, port), Handler)
        self.host = host
        self.port = int(self._server.server_address[1])

    def __enter__(self) -> Sink:
        self._stack.enter_context(serving(self._server))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _handle(self, sock: socket.socket) -> None:
        connection = Connection(sock)
        with self._lock:
            self.connections += 1
            self.peers.append(str(sock.getpeername()[0]))
        try:
            (self._script or self._serve)(connection)
        except (EOFError, OSError):
            pass
        finally:
            connection.hang_up()

    def _serve(self, connection: Connection) -> None:
        session = Received("")
        if not self._reply(connection, "", f"220 {self.name} ESMTP"):
            return
        while True:
            line = connection.hear()
            with self._lock:
                self.commands.append(line)
            verb = line.partition(" ")[0].upper()
            if verb == "QUIT":
                connection.say("221 2.0.0 bye")
                return
            if not self._obey(connection, verb, line, session):
                return

    def _obey(self, connection: Connection, verb: str, line: str, session: Received) -> bool:
        if verb in ("EHLO", "HELO"):
            session.hello = line
            offered = [each for each in self._extensions if each != "STARTTLS" or not session.secure]
            lines = [self.name, *(offered if verb == "EHLO" else ())]
            text = "\r\n".join(f"250{'-' if each is not lines[-1] else ' '}{each}" for each in lines)
            return self._reply(connection, line, text)
        if verb == "STARTTLS" and self._tls is not None:
            going = self._reply(connection, line, "220 2.0.0 go ahead")
            if going:
                connection.secure(self._tls)
                session.secure = True
            return going
        if verb == "DATA":
            return self._data(connection, session)
        if verb == "MAIL":
            session.mail, session.recipients = line, []
        elif verb == "RCPT" and self._answer(line, "250").startswith("2"):
            session.recipients.append(line)
        return self._reply(connection, line, "250 2.0.0 ok")

    def _data(self, connection: Connection, session: Received) -> bool:
        if not self._reply(connection, "DATA", "354 go ahead"):
            return False
        if not self._answer("DATA", "354").startswith("3"):
            return True
        content = connection.content()
        answer = self._answer(".", "250 2.0.0 kept")
        if answer.startswith("2") or answer in (SILENCE, HANG_UP):
            with self._lock:
                self.received.append(Received(session.mail, session.recipients, content, session.hello, session.secure))
        return self._reply(connection, ".", "250 2.0.0 kept")

    def _answer(self, line: str, default: str) -> str:
        found = [key for key in self.replies if line.upper().startswith(key.upper()) and bool(key) == bool(line)]
        answer = self.replies[max(found, key=len)] if found else default
        return answer if isinstance(answer, str) else answer[0]

    def _reply(self, connection: Connection, line: str, default: str) -> bool:
        """False when that was all."""
        answer = self._answer(line, default)
        for key, value in self.replies.items():
            if not isinstance(value, str) and value[0] is answer and len(value) > 1:
                self.replies[key] = value[1:]
        if answer == HANG_UP:
            return False
        if answer == SILENCE:
            connection.wait()
            return False
        connection.say(answer)
        return True
