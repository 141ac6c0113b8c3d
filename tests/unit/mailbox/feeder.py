"""Feeds an index until it is killed: `feeder.py FOLDER`. Prints a line for each transaction."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from pathlib import Path


async def main(folder: Path) -> None:
    found = importlib.util.spec_from_file_location("rig", Path(__file__).with_name("rig.py"))
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules["rig"] = module
    found.loader.exec_module(module)
    rig = module.Rig(folder)
    async with rig.open(), rig.account(await rig.node("phone")) as account:
        async for changed in account.view().changes(1):
            print(sum(len(one.added) for one in changed), flush=True)


asyncio.run(main(Path(sys.argv[1])))
