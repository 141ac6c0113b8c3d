"""Receipts: what the queue found out, with the addresses of the request, as entries for its clients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mesyx_core.journal import Draft, Log
from mesyx_core.outbox.days import Days
from mesyx_core.outbox.queue import Job
from mesyx_core.outbox.ways import Ways
from mesyx_core.record.outgoing import MAX_ADDRESS, MAX_FATES, Fate, Receipt


async def receipts(
    ways: Ways, days: Days, job: Job, fates: Sequence[Fate], addresses: Mapping[int, str], now: int
) -> list[tuple[Log, Draft]]:
    """One receipt for every 200 recipients; the last one says whether the request has come to its end."""
    named = [fate._replace(address=addresses.get(fate.number, "")[:MAX_ADDRESS]) for fate in fates]
    pieces = [tuple(named[at : at + MAX_FATES]) for at in range(0, len(named), MAX_FATES)] or [()]
    told = [Receipt(job.id, now, job.final and piece is pieces[-1], piece) for piece in pieces]
    return [await tell(ways, days, job, receipt.pack()) for receipt in told]


async def tell(ways: Ways, days: Days, job: Job, data: bytes) -> tuple[Log, Draft]:
    """Sealed to the clients, and to the day of the request, so that this node can read it should it be restored from a
    backup. [Not to a later day: what is said of a request goes when the request's own key goes.]"""
    day = days.get(job.day)
    if day is None:
        return await ways.to_clients(job.store, data)
    return await ways.to_day(job.store, data, day.recipient)
