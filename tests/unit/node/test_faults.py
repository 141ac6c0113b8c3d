"""Uncaught faults tell type and place and nothing else: their text may hold a message's bytes."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import threading

import anyio
import pytest

from mesyx_core.node import faults

SECRET = "the text of a message"


class Careless:
    def __del__(self) -> None:
        raise ValueError(SECRET)


def fail() -> None:
    raise ValueError(SECRET)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_faults_in_loop_thread_and_clean_up_name_no_value(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    for owner, hook in ((threading, "excepthook"), (sys, "unraisablehook")):
        monkeypatch.setattr(owner, hook, getattr(owner, hook))

    async def main() -> None:
        faults.install()
        asyncio.get_running_loop().call_soon(fail)
        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()
        careless = Careless()
        del careless
        gc.collect()
        await asyncio.sleep(0.01)

    with caplog.at_level(logging.DEBUG, logger="mesyx_core"):
        asyncio.run(main())
    told = [record.getMessage() for record in caplog.records if record.name == "mesyx_core.node.faults"]
    assert len(told) == 3
    assert all("ValueError at test_faults.py:" in line for line in told)
    out = capfd.readouterr()
    assert SECRET not in "".join([*told, out.out, out.err])


def test_what_fails_starts_again_and_ends_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    runs: list[int] = []

    async def work() -> None:
        runs.append(1)
        if len(runs) < 3:
            raise ValueError(SECRET)

    anyio.run(faults.again, "the mailbox of alice", work, (0.0,))
    assert len(runs) == 3
    assert SECRET not in caplog.text
    assert caplog.text.count("the mailbox of alice failed: ValueError") == 2
