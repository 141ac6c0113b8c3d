"""Mail goes out to servers that other people wrote: Postfix, whose every address behaves in its own way, and Dovecot's SASL."""

from __future__ import annotations

import contextlib
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import pytest
from mesyx_smtp import mesyx_egresses
from mesyx_smtp.testing import Greylist, NameServer, postfix
from mesyx_smtp.testing.serving import free_port

from mesyx_core.api import Bytes, Message, Outcome
from mesyx_core.testing.context import StandIn
from mesyx_core.wire.tls import self_signed

pytestmark = pytest.mark.scenario

HOST = "127.0.1."
BODY = b"From: me@example.net\r\nSubject: hello\r\n\r\n.\r\n..\r\n.x\r\n" + b"x" * 5000 + b"\r\n"


def message(body: bytes = BODY, **envelope: Any) -> Message:
    return Message(kind="mail", time=datetime.now(UTC), body=Bytes(body), sender="me@example.net", envelope=envelope)


@pytest.fixture
def attempts() -> Callable[..., list[Mapping[str, Outcome]]]:
    """The same message sent as often as `times` says, by one egress."""

    def run(what: Message, *recipients: str, times: int = 1, **config: Any) -> list[Mapping[str, Outcome]]:
        provider = mesyx_egresses()[0]

        async def main() -> list[Mapping[str, Outcome]]:
            model = provider.config.model_validate({"hostname": "node.example.net", **config})
            async with provider.open(model, StandIn("out")) as egress:
                return [await egress.send(what, recipients) for _ in range(times)]

        return anyio.run(main, backend_options={"use_uvloop": True})

    return run


@pytest.fixture(scope="module")
def pem() -> Iterator[Path]:
    """A certificate for *.mail.test with its key, where Postfix can read it."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        path = Path(name) / "test.pem"
        certificate, key = self_signed("*.mail.test", datetime.now(UTC))
        path.write_bytes(key + certificate)
        yield path


def test_ten_recipients_have_ten_fates(attempts: Callable[..., Any], pem: Path) -> None:
    greylist = Greylist()
    with contextlib.ExitStack() as stack:
        fates: dict[str, dict[str, str]] = {
            "sent": {},
            "rcpt": {"smtpd_recipient_restrictions": "check_recipient_access static:{550 5.1.1 No such user}"},
            "data": {"smtpd_data_restrictions": "check_client_access static:{554 5.7.1 Not from you}"},
            "grey": {"smtpd_recipient_restrictions": stack.enter_context(greylist.running())},
            "down": {},
            "clear": {"smtpd_tls_security_level": "none"},
            "quota": {"smtpd_recipient_restrictions": "check_recipient_access static:{452 4.2.2 Mailbox full}"},
            "slow": {"smtpd_recipient_restrictions": "sleep 30"},
        }
        address = {name: f"{HOST}{n}" for n, name in enumerate(fates, 1)}
        zone = {f"{name}.test": {"MX": [f"10 mx-{name}.mail.test."]} for name in fates}
        zone |= {f"mx-{name}.mail.test": {"A": [where]} for name, where in address.items()}
        zone |= {"null.test": {"MX": ["0 ."]}, "none.test": {"TXT": ["no mail here"]}}
        served = {address[name]: options for name, options in fates.items() if name != "down"}
        port = free_port(*address.values())
        mta = stack.enter_context(postfix(served, certificate=pem, port=port))
        names = stack.enter_context(NameServer(zone))
        to = [f"u@{name}.test" for name in (*fates, "null", "none")]
        assert len(to) == 10
        config = {"resolver": names.address, "port": port, "tls": "required", "tls_ca": pem, "timeouts": {"command": 3}}
        began = time.monotonic()
        first, second = attempts(message(), *to, times=2, **config)
        assert time.monotonic() - began < 30
        held = mta.held()
    expected = {
        "sent": ("sent", r"250 2\.0\.0 Ok: queued as "),
        "rcpt": ("never", r"550 5\.1\.1 .*No such user \(at RCPT\)"),
        "data": ("never", r"554 5\.7\.1 .*Not from you \(at DATA\)"),
        "grey": ("later", r"450 4\.7\.1 .*Greylisted, come back later \(at RCPT\)"),
        "down": ("later", r"4\.4\.1 cannot reach "),
        "null": ("never", r"5\.1\.10 "),
        "none": ("never", r"5\.4\.4 "),
        "clear": ("never", r"5\.7\.10 "),
        "quota": ("later", r"452 4\.2\.2 .*Mailbox full \(at RCPT\)"),
        "slow": ("later", r"4\.4\.2 timed out at a command"),
    }
    for name, (word, reason) in expected.items():
        outcome = first[f"u@{name}.test"]
        assert outcome.word == word, (name, outcome)
        assert re.match(reason, outcome.reason), (name, outcome)
        if name in fates:
            assert outcome.remote == f"mx-{name}.mail.test [{address[name]}]"
    assert {name for name in expected if second[f"u@{name}.test"] != first[f"u@{name}.test"]} == {"sent", "grey"}
    assert second["u@grey.test"].word == "sent"
    assert len(held) == 3
    assert all(BODY.replace(b"\r\n", b"\n") in each for each in held)
    assert all(b" with ESMTPS id " in each for each in held)


def test_after_the_dot_a_message_is_refused_for_good_or_for_now(attempts: Callable[..., Any], tmp_path: Path) -> None:
    later = {"smtpd_end_of_data_restrictions": "check_client_access static:{450 4.7.0 not now}"}
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        checks = Path(folder) / "checks"
        checks.write_text("/^Subject: hello/ REJECT 5.7.1 no hello here\n")
        with postfix({"127.0.1.1": {}, "127.0.1.2": later}, parameters={"header_checks": f"regexp:{checks}"}) as mta:
            (refused,) = attempts(message(), "a@one.test", smarthost=f"127.0.1.1:{mta.port}")
            (put_off,) = attempts(message(b"Subject: x\r\n"), "a@one.test", smarthost=f"127.0.1.2:{mta.port}")
            assert mta.held() == []
    reason = "550 5.7.1 no hello here (at the end of the message)"
    assert refused["a@one.test"] == Outcome(word="never", reason=reason, remote="127.0.1.1")
    assert put_off["a@one.test"].word == "later"
    assert re.fullmatch(r"450 4.7.0 .*not now \(at the end of the message\)", put_off["a@one.test"].reason)


def test_postfix_takes_what_it_says_that_it_takes(attempts: Callable[..., Any], pem: Path) -> None:
    """Pipelining, 8BITMIME, SMTPUTF8, DSN and STARTTLS, with a hundred and twenty recipients."""
    body = "Subject: grüße\r\n\r\nüber\r\n".encode()
    to = ["ünï@exämple.test", *(f"u{n}@one.test" for n in range(119))]
    asked = {"smtputf8": True, "ret": "HDRS", "envid": "e1", "notify/u0@one.test": "NEVER"}
    with postfix({"127.0.1.1": {}}, certificate=pem) as mta:
        (outcomes,) = attempts(message(body, **asked), *to, smarthost=f"127.0.1.1:{mta.port}")
        held = mta.held()
        log = mta.log
    assert {outcome.word for outcome in outcomes.values()} == {"sent"}
    assert len(held) == 2
    assert all(body.replace(b"\r\n", b"\n") in each for each in held)
    assert "warning" not in log
    assert "improper command pipelining" not in log


def test_a_message_of_thirty_megabytes_passes(attempts: Callable[..., Any], pem: Path) -> None:
    body = b"Subject: large\r\n\r\n" + b"." + b"0123456789abcde\r\n" * 2_000_000
    with postfix(
        {"127.0.1.1": {}, "127.0.1.2": {}}, certificate=pem, parameters={"message_size_limit": "35000000"}
    ) as mta:
        (outcomes,) = attempts(message(body), "a@one.test", smarthost=f"127.0.1.1:{mta.port}")
        assert outcomes["a@one.test"].word == "sent"
        assert body.replace(b"\r\n", b"\n") in mta.held()[0]
        (outcomes,) = attempts(
            message(body + b"x" * 2_000_000 + b"\r\n"), "a@one.test", smarthost=f"127.0.1.1:{mta.port}"
        )
        assert outcomes["a@one.test"].reason.startswith("5.3.4 ")


@contextlib.contextmanager
def sasl(mechanisms: str) -> Iterator[str]:
    """Dovecot's log-in service for Postfix, for anybody with the password "secret"; the parameter that names it."""
    port = free_port("127.0.0.1")
    with tempfile.TemporaryDirectory(prefix="mesyx-sasl-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        config = folder / "dovecot.conf"
        config.write_text(f"""
protocols =
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
ssl = no
disable_plaintext_auth = no
auth_mechanisms = {mechanisms}
passdb {{
  driver = static
  args = password=secret
}}
service auth {{
  inet_listener {{
    address = 127.0.0.1
    port = {port}
  }}
}}
""")
        process = subprocess.Popen(["dovecot", "-F", "-c", str(config)])
        try:
            yield f"inet:127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(10)


@pytest.mark.parametrize("mechanism", ["plain", "login", "scram-sha-256"])
def test_postfix_lets_us_log_in_with_the_right_password(attempts: Callable[..., Any], mechanism: str) -> None:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.chmod(0o755)
        pem = folder / "localhost.pem"
        certificate, key = self_signed("localhost", datetime.now(UTC))
        pem.write_bytes(key + certificate)
        parameters = {
            "smtpd_sasl_auth_enable": "yes",
            "smtpd_sasl_type": "dovecot",
            "smtpd_sasl_path": stack.enter_context(sasl(mechanism)),
            "smtpd_sasl_security_options": "noanonymous",
            "smtpd_tls_auth_only": "yes",
            "smtpd_recipient_restrictions": "permit_sasl_authenticated, reject",
        }
        mta = stack.enter_context(postfix({"127.0.0.1": {}}, certificate=pem, parameters=parameters))
        config = {"smarthost": f"localhost:{mta.port}", "username": "me", "tls_ca": pem}
        (right,) = attempts(message(), "a@one.test", **config, password="secret")
        (wrong,) = attempts(message(), "a@one.test", **config, password="guess")
        log = mta.log
    assert right["a@one.test"].word == "sent", (right, log[-2000:])
    assert f"sasl_method={mechanism.upper()}, sasl_username=me" in log
    assert wrong["a@one.test"].word == "later"
    assert wrong["a@one.test"].reason.startswith("4.7.8 cannot log in: 535 5.7.8 ")
