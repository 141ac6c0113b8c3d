"""Thunderbird on a screen of its own: keys are pressed by xdotool, as a person would, and what the program is at is asked
of it by Marionette, Mozilla's remote control.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.scenario.cluster import Pair, free_port

_PATIENCE = 60.0
"""Seconds; a first start on a busy machine takes twenty."""
_NAME, _NORMAL, _PLAIN = "Alice", 3, 0
_LOGIN = """
const [address, name, user, password] = arguments;
const login = Components.classes["@mozilla.org/login-manager/loginInfo;1"].createInstance(Components.interfaces.nsILoginInfo);
login.init(address, null, address, user, password, "", "");
Services.logins.addLoginAsync(login).then(() => arguments[4](""), error => arguments[4](String(error)));
"""
"""The password manager keeps it, as with the tick in the prompt."""
_WINDOWS = """
return Array.from(Services.wm.getEnumerator(null), each => each.document.title)
"""
_WHERE = """
const [selector, text] = arguments;
const pane = Services.wm.getMostRecentWindow("mail:3pane").document.getElementById("tabmail").currentAbout3Pane;
const found = Array.from(pane.document.querySelectorAll(selector)).find(each => each.textContent.includes(text));
const box = found && found.getBoundingClientRect();
return box && box.height ? [pane.mozInnerScreenX + box.x + box.width / 2, pane.mozInnerScreenY + box.y + box.height / 2] : null;
"""
"""The middle of an element of the main window, on the screen."""
_MESSAGE = """
const pane = Services.wm.getMostRecentWindow("mail:3pane").document.getElementById("tabmail").currentAbout3Pane;
const message = pane.messageBrowser.contentWindow.getMessagePaneBrowser?.().contentDocument;
return message && message.body ? message.body.textContent : "";
"""
_ROWS = """
const pane = Services.wm.getMostRecentWindow("mail:3pane").document.getElementById("tabmail").currentAbout3Pane;
return pane.gDBView ? pane.gDBView.rowCount : 0;
"""
_EDITOR = """
const compose = Services.wm.getMostRecentWindow("msgcompose");
if (!compose || compose.document.activeElement?.id != "messageEditor" || !compose.GetCurrentEditor()) return null;
const box = compose.document.activeElement.getBoundingClientRect();
return { text: compose.GetCurrentEditor().document.body.innerText,
    middle: [compose.mozInnerScreenX + box.x + box.width / 2, compose.mozInnerScreenY + box.y + box.height / 2] };
"""
"""The text of a message that is written, once keys go there; and where it is on the screen."""


def preferences(pair: Pair, marionette: int) -> dict[str, str | int | bool]:
    """One IMAP account, one outgoing server, and no talk of anything else."""
    server, identity, smtp = "mail.server.server1.", "mail.identity.id1.", "mail.smtpserver.smtp1."
    return {
        "mail.accountmanager.accounts": "account1,account2",
        "mail.accountmanager.defaultaccount": "account1",
        "mail.accountmanager.localfoldersserver": "server2",
        "mail.account.account1.server": "server1",
        "mail.account.account1.identities": "id1",
        "mail.account.account2.server": "server2",
        "mail.server.server2.type": "none",
        "mail.server.server2.hostname": "Local Folders",
        "mail.server.server2.userName": "nobody",
        "mail.server.server2.name": "Local Folders",
        f"{server}type": "imap",
        f"{server}hostname": "127.0.0.1",
        f"{server}port": pair.imap,
        f"{server}userName": pair.user,
        f"{server}name": pair.address,
        f"{server}authMethod": _NORMAL,
        f"{server}socketType": _PLAIN,
        f"{server}login_at_startup": False,
        f"{server}check_new_mail": False,
        f"{identity}fullName": _NAME,
        f"{identity}useremail": pair.address,
        f"{identity}smtpServer": "smtp1",
        f"{identity}valid": True,
        f"{identity}compose_html": False,
        "mail.smtpservers": "smtp1",
        "mail.smtp.defaultserver": "smtp1",
        f"{smtp}hostname": "127.0.0.1",
        f"{smtp}port": pair.client.ports["submission"],
        f"{smtp}username": pair.user,
        f"{smtp}authMethod": _NORMAL,
        f"{smtp}try_ssl": _PLAIN,
        "marionette.port": marionette,
        "app.donation.eoy.version.viewed": 999,
        "app.update.enabled": False,
        "browser.cache.disk.enable": False,
        "datareporting.healthreport.uploadEnabled": False,
        "datareporting.policy.dataSubmissionEnabled": False,
        "mail.provider.suppress_dialog_on_startup": True,
        "mail.rights.version": 1,
        "mail.shell.checkDefaultClient": False,
        "mail.spotlight.firstRunDone": True,
        "mail.warn_on_send_accel_key": False,
        "mail.winsearch.firstRunDone": True,
        "mailnews.start_page.enabled": False,
        "mailnews.start_page_override.mstone": "ignore",
        "signon.rememberSignons": True,
        "toolkit.telemetry.enabled": False,
    }


class ScriptError(Exception):
    """What a script met was not there, or not yet."""


class Marionette:
    """A session in Thunderbird's own (chrome) context."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), _PATIENCE)
        self._file = self._socket.makefile("rb")
        self._number = 0
        self._receive()
        self._ask("WebDriver:NewSession", {})
        self._ask("Marionette:SetContext", {"value": "chrome"})

    def run(self, script: str, *arguments: Any, later: bool = False) -> Any:
        """What a script gives; with `later`, what it calls its last argument with."""
        how = "WebDriver:ExecuteAsyncScript" if later else "WebDriver:ExecuteScript"
        return self._ask(how, {"script": script, "args": arguments, "newSandbox": True})["value"]

    def close(self) -> None:
        self._socket.close()

    def _ask(self, name: str, parameters: dict[str, Any]) -> Any:
        self._number += 1
        text = json.dumps([0, self._number, name, parameters]).encode()
        self._socket.sendall(b"%d:%b" % (len(text), text))
        _, _, error, result = self._receive()
        if error is not None:
            raise ScriptError(f"{error['error']}: {error['message']}")
        return result

    def _receive(self) -> Any:
        digits = b""
        while (digit := self._file.read(1)) != b":":
            assert digit, "Thunderbird ended"
            digits += digit
        return json.loads(self._file.read(int(digits)))


class Thunderbird:
    """The running program."""

    def __init__(self, folder: Path, display: str, remote: Marionette) -> None:
        self.folder = folder
        self.display = display
        self.remote = remote

    def press(self, *keys: str) -> None:
        """By the names of X, such as "ctrl+Return", in the window that has the focus."""
        self._xdotool("key", "--delay", "50", *keys)

    def type(self, text: str) -> None:
        self._xdotool("type", "--delay", "20", text)

    def windows(self) -> list[str]:
        """The titles of all of them, questions and complaints too."""
        found: list[str] = self.remote.run(_WINDOWS)
        return found

    def fetch(self) -> None:
        """Get mail. On the first start this finds the folders; keys are lost until the window listens."""

        def come() -> bool:
            self.press("F5")
            time.sleep(1)
            return self._where("#folderTree .name", "Inbox") is not None

        self.until("the folders", come)

    def open(self, folder: str) -> None:
        """Click a folder, and wait until its messages are listed."""
        self._click(f"the folder {folder}", "#folderTree .name", folder)
        self.until(f"the list of {folder}", lambda: self.windows()[0].startswith(f"{folder} - "))

    def rows(self) -> int:
        """How many messages are listed."""
        return int(self.remote.run(_ROWS))

    def read(self, subject: str, contains: str) -> str:
        """Click a message, and wait for what it says."""
        self._click(f"the message {subject!r}", "#threadTree tr", subject)
        return str(self.until(f"{contains!r}", lambda: self._shown(contains)))

    def reply(self, quoted: str, answer: str) -> None:
        """Answer the message that is read by the keys for it, and wait until the window for writing has gone."""
        self.press("ctrl+r")
        editor = self.until("a reply", lambda: self._editor(quoted))
        self._xdotool("mousemove", *(str(round(each)) for each in editor["middle"]))  # keys go where the mouse is
        self.type(answer)
        self.until("what was typed", lambda: self._editor(answer))
        self.press("ctrl+Return")
        self.until("an end of sending", lambda: len(self.windows()) == 1)

    def _shown(self, contains: str) -> str:
        text = str(self.remote.run(_MESSAGE))
        return text if contains in text else ""

    def _editor(self, contains: str) -> Any:
        editor = self.remote.run(_EDITOR)
        return editor if editor and contains in editor["text"] else None

    def _where(self, selector: str, text: str) -> Any:
        return self.remote.run(_WHERE, selector, text)

    def _click(self, what: str, selector: str, text: str) -> None:
        x, y = self.until(what, lambda: self._where(selector, text))
        self._xdotool("mousemove", str(round(x)), str(round(y)), "click", "1")

    def until(self, what: str, check: Callable[[], Any], timeout: float = _PATIENCE) -> Any:
        """Wait until something true is found. Of windows that just open or close, scripts may meet halves."""
        deadline, trouble = time.monotonic() + timeout, ""
        while time.monotonic() < deadline:
            try:
                if found := check():
                    return found
                trouble = ""
            except ScriptError as error:
                trouble = f"; {error}"
            time.sleep(0.1)
        raise AssertionError(
            f"Thunderbird: {what} not within {timeout} s; windows: {self.windows()}{trouble}{self._shot()}"
        )

    def screenshot(self, file: Path) -> None:
        """For a person to look at; needs imagemagick."""
        subprocess.run(["import", "-display", self.display, "-window", "root", file], check=True, timeout=30)

    def _shot(self) -> str:
        if shutil.which("import") is None:
            return ""
        self.screenshot(self.folder / "screen.png")
        return f"; see {self.folder / 'screen.png'}"

    def _xdotool(self, *words: str) -> None:
        subprocess.run(["xdotool", *words], check=True, timeout=30, env={**os.environ, "DISPLAY": self.display})


@contextmanager
def screen() -> Iterator[str]:
    """An X server; its display."""
    ours, its = os.pipe()
    command = ["Xvfb", "-displayfd", str(its), "-screen", "0", "1400x900x24", "-nolisten", "tcp"]
    with open(ours) as named:
        process = subprocess.Popen(command, pass_fds=[its], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(its)
        number = named.readline().strip()
    assert number, "Xvfb did not start"
    try:
        yield f":{number}"
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def thunderbird(folder: Path, pair: Pair) -> Iterator[Thunderbird]:
    """Thunderbird with the pair's account set up and its passwords known, on its first start."""
    port = free_port()
    profile, home = folder / "profile", folder / "home"
    profile.mkdir(parents=True)
    home.mkdir()
    lines = (f"user_pref({json.dumps(key)}, {json.dumps(value)});\n" for key, value in preferences(pair, port).items())
    (profile / "prefs.js").write_text("".join(lines))
    with ExitStack() as stack:
        display = stack.enter_context(screen())
        environment = {
            "DISPLAY": display,
            "HOME": str(home),
            "PATH": os.environ["PATH"],
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
        }
        command = [
            "thunderbird",
            "--profile",
            str(profile),
            "--no-remote",
            "--marionette",
            "--remote-allow-system-access",
        ]
        log = stack.enter_context((folder / "log").open("w"))
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
        stack.callback(_end, process)
        remote = _connected(port, process)
        stack.callback(remote.close)
        for scheme, name in (("imap", "imap"), ("smtp", "smtp")):
            error = remote.run(_LOGIN, f"{scheme}://127.0.0.1", name, pair.user, pair.password, later=True)
            assert not error, error
        program = Thunderbird(folder, display, remote)
        program.fetch()
        yield program


def _connected(port: int, process: subprocess.Popen[bytes]) -> Marionette:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            return Marionette(port)
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(20)
