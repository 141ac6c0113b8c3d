"""Replication between a store's member nodes over any byte stream.

frames      what is said: bounded, strict, one small tuple each
session     who says it when; no I/O, no clock
compare     which logs differ, by digests of ranges
flow        what may be under way, and what the peer has
link        TLS 1.3 that knows nodes by their keys
invitation  one line that lets a client make a node a member
join        how it is redeemed
signal      requests and events: how they are sealed and signed
relay       whether a signal is taken, passed on or lost
signals     what this node asks, answers and hears
leases      who has a program attached
service     runs sessions on streams against the journal
keeper      dials again
"""

from mesyx_core.exchange.connection import Pace
from mesyx_core.exchange.errors import (
    InvitationRefused,
    LinkFailed,
    NoAnswer,
    NotMember,
    PeerEnded,
    Violation,
    WrongNode,
)
from mesyx_core.exchange.frames import About
from mesyx_core.exchange.invitation import Invitation
from mesyx_core.exchange.join import Joining, Showing
from mesyx_core.exchange.keeper import keep
from mesyx_core.exchange.register import Issued, Register
from mesyx_core.exchange.service import Exchange, PeerStatus, Refusal

__all__ = [
    "About",
    "Exchange",
    "Invitation",
    "InvitationRefused",
    "Issued",
    "Joining",
    "LinkFailed",
    "NoAnswer",
    "NotMember",
    "Pace",
    "PeerEnded",
    "PeerStatus",
    "Refusal",
    "Register",
    "Showing",
    "Violation",
    "WrongNode",
    "keep",
]
