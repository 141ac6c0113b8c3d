"""SMTP clients that remember which messages were answered 250."""

from __future__ import annotations

import smtplib
import threading
import time
from collections.abc import Iterable

SENDER = "bounces+%d@list.example.com"


class Senders:
    """Send messages over some connections at once, each message once, until all are sent or `stop` is called."""

    def __init__(self, port: int, recipient: str, connections: int = 4) -> None:
        self.port = port
        self.recipient = recipient
        self.accepted: list[bytes] = []
        """What was answered 250."""
        self.unsure: list[bytes] = []
        """What was sent whole and never answered: it may have been taken in."""
        self.refused: list[str] = []
        """Replies other than 250."""
        self._connections = connections
        self._stop = threading.Event()

    def stop(self) -> None:
        self._stop.set()

    def send(self, mails: Iterable[bytes]) -> float:
        """All of them; the seconds that it took."""
        waiting, lock = iter(enumerate(mails)), threading.Lock()

        def work() -> None:
            client: smtplib.SMTP | None = None
            while not self._stop.is_set():
                with lock:
                    number, mail = next(waiting, (0, b""))
                if not mail:
                    break
                client = self._deliver(client, SENDER % number, mail)
            if client is not None:
                client.close()

        begun = time.monotonic()
        threads = [threading.Thread(target=work, daemon=True) for _ in range(self._connections)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return time.monotonic() - begun

    def _deliver(self, client: smtplib.SMTP | None, sender: str, mail: bytes) -> smtplib.SMTP | None:
        """One message; the connection, or None when it broke."""
        whole = False
        try:
            client = client or self._connect()
            client.mail(sender)
            client.rcpt(self.recipient)
            whole = True
            code, reply = client.data(mail)
            if code == 250:
                self.accepted.append(mail)
            else:
                self.refused.append(f"{code} {reply!r}")
            return client
        except smtplib.SMTPDataError as error:  # no 354
            self.refused.append(str(error))
        except (smtplib.SMTPException, OSError):
            if whole:
                self.unsure.append(mail)
        if client is not None:
            client.close()
        self._stop.wait(0.05)
        return None

    def _connect(self) -> smtplib.SMTP:
        client = smtplib.SMTP("127.0.0.1", self.port, "sender.example.com", timeout=30)
        client.ehlo()
        return client
