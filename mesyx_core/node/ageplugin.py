"""age plugins: programs `age-plugin-NAME` that seal and open for keys on hardware, spoken to by stdin and stdout (C2SP
age-plugin). What a plugin says is bounded, and it is given a time; what it asks of a person goes to `Person`.
"""

from __future__ import annotations

import select
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import IO, Final, Protocol

from mesyx_core.api.errors import Refused
from mesyx_core.vault import age
from mesyx_core.vault.age import Stanza, base64, header
from mesyx_core.vault.age.header import FILE_KEY_SIZE

PATIENCE: Final = 180.0
"""Seconds that a plugin has, a person's touch included."""
MOST: Final = 1000
"""Commands of a plugin in one run."""
LONGEST: Final = 4096
"""Bytes of a line."""
LARGEST: Final = 1 << 20
"""Bytes that a plugin says in one run."""


class Person(Protocol):
    """Whom a plugin can speak to."""

    def tell(self, text: str) -> None:
        """Show a message."""

    def ask(self, text: str, secret: bool) -> str | None:
        """A line that somebody types; None where there is nobody."""

    def confirm(self, text: str, yes: str, no: str) -> bool | None:
        """A choice of two words, of which the second may be empty; None where there is nobody."""


class Nobody:
    """There is nobody: what a plugin wants to say is for none."""

    def tell(self, text: str) -> None:
        """Dropped."""

    def ask(self, text: str, secret: bool) -> str | None:
        """Refused."""
        return None

    def confirm(self, text: str, yes: str, no: str) -> bool | None:
        """Refused."""
        return None


def seal(plaintext: bytes, recipient: str, person: Person | None = None) -> bytes:
    """The age file of `plaintext` to a plugin's recipient. Raises Refused, AgeError."""
    name = age.recipient_plugin(recipient)

    def wrap(file_key: bytes) -> list[Stanza]:
        found: list[Stanza] = []
        with _running(name, "recipient-v1", person or Nobody()) as run:
            run.say(Stanza(b"add-recipient", (recipient.encode("ascii"),), b""))
            run.say(Stanza(b"wrap-file-key", (), file_key))
            run.say(Stanza(b"done", (), b""))
            for command in run.heard():
                if command.type == b"recipient-stanza" and len(command.arguments) > 1 and command.arguments[0] == b"0":
                    found.append(Stanza(command.arguments[1], command.arguments[2:], command.body))
                    run.say(Stanza(b"ok", (), b""))
                else:
                    run.unsupported()
        return found

    return age.encrypt_to(plaintext, wrap)


def open_(file: bytes, identity: str, person: Person | None = None) -> bytes:
    """The plaintext of an age file that a plugin's identity opens. Raises Refused, NoMatch, AgeError."""
    name = age.identity_plugin(identity)

    def unwrap(stanzas: Sequence[Stanza]) -> bytes | None:
        found: bytes | None = None
        with _running(name, "identity-v1", person or Nobody()) as run:
            run.say(Stanza(b"add-identity", (identity.encode("ascii"),), b""))
            for stanza in stanzas:
                run.say(Stanza(b"recipient-stanza", (b"0", stanza.type, *stanza.arguments), stanza.body))
            run.say(Stanza(b"done", (), b""))
            for command in run.heard():
                if command.type == b"file-key" and command.arguments == (b"0",) and len(command.body) == FILE_KEY_SIZE:
                    found = command.body
                    run.say(Stanza(b"ok", (), b""))
                else:
                    run.unsupported()
        return found

    return age.decrypt_by(file, unwrap)


@contextmanager
def _running(name: str, machine: str, person: Person) -> Iterator[_Run]:
    program = f"age-plugin-{name}"
    try:
        process = subprocess.Popen(
            [program, f"--age-plugin={machine}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
    except OSError as error:
        raise Refused(
            f"{program} cannot be run ({error.strerror})", "install it, in the PATH of this command"
        ) from error
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield _Run(program, process.stdin, process.stdout, person)
    except (BrokenPipeError, age.AgeError, EOFError) as error:
        if isinstance(error, age.NoMatch):
            raise
        raise Refused(
            f"{program} broke off, or does not speak as it should", "see what it printed, or upgrade it"
        ) from error
    finally:
        process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            process.wait(1)
        if process.poll() is None:
            process.kill()
            process.wait()
        process.stdout.close()


class _Run:
    """One run of a plugin: our words, then its commands, each of which is answered."""

    def __init__(self, program: str, to: IO[bytes], out: IO[bytes], person: Person) -> None:
        self._program = program
        self._to = to
        self._out = out
        self._person = person
        self._left = b""
        self._heard = 0
        self._until = time.monotonic() + PATIENCE
        self._answers: dict[bytes, Callable[[Stanza], Stanza]] = {
            b"msg": self._tell,
            b"request-public": lambda command: self._ask(command, secret=False),
            b"request-secret": lambda command: self._ask(command, secret=True),
            b"confirm": self._confirm,
        }
        self._command = Stanza(b"", (), b"")

    def say(self, stanza: Stanza) -> None:
        self._to.write(b"\n".join(header.stanza_lines(stanza)) + b"\n")

    def heard(self) -> Iterator[Stanza]:
        """Commands that the state machine is about; what the plugin wants of a person is answered here. Raises Refused
        for what the plugin says is wrong.
        """
        for _ in range(MOST):
            self._command = command = header.read_stanza(self._line(), self._line)
            if command.type == b"done":
                return
            if command.type == b"error":
                self.say(Stanza(b"ok", (), b""))
                raise Refused(f"{self._program}: {_text(command.body)}", "see the plugin's own documentation")
            answer = self._answers.get(command.type)
            if answer is None:
                yield command
            else:
                self.say(answer(command))
        raise EOFError

    def unsupported(self) -> None:
        """The command that was heard last is none that is known here."""
        self.say(Stanza(b"unsupported", (), b""))

    def _tell(self, command: Stanza) -> Stanza:
        self._person.tell(_text(command.body))
        return Stanza(b"ok", (), b"")

    def _ask(self, command: Stanza, secret: bool) -> Stanza:
        typed = self._person.ask(_text(command.body), secret)
        self._until = time.monotonic() + PATIENCE
        return Stanza(b"fail", (), b"") if typed is None else Stanza(b"ok", (), typed.encode())

    def _confirm(self, command: Stanza) -> Stanza:
        words = [_text(base64.decode(word)) for word in command.arguments[:2]]
        chosen = self._person.confirm(_text(command.body), *[*words, "", ""][:2])
        self._until = time.monotonic() + PATIENCE
        return Stanza(b"fail", (), b"") if chosen is None else Stanza(b"ok", (b"yes" if chosen else b"no",), b"")

    def _line(self) -> bytes:
        while b"\n" not in self._left:
            if len(self._left) > LONGEST or self._heard > LARGEST:
                raise EOFError
            wait = self._until - time.monotonic()
            if wait <= 0 or not select.select([self._out], [], [], wait)[0]:
                raise Refused(f"{self._program} did not answer in time", "try again; it may wait for a touch")
            data = self._out.read(LONGEST)
            if not data:
                raise EOFError
            self._heard += len(data)
            self._left += data
        line, _, self._left = self._left.partition(b"\n")
        return line


def _text(data: bytes) -> str:
    """What a plugin says, fit for a terminal."""
    return "".join(c if c.isprintable() else " " for c in data[:LONGEST].decode("utf-8", "replace"))
