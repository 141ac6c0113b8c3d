"""What can go wrong between two nodes."""

from __future__ import annotations

from mesyx_core.api import Permanent, Refused, Temporary


class LinkFailed(Temporary):
    """The peer went away, does not answer, or does not speak TLS 1.3."""


class WrongNode(Permanent):
    """The node at the other end does not have the key that was expected."""


class Violation(Permanent):
    """The peer broke the protocol; the session has ended. `what` says how, never with content."""


class PeerEnded(Temporary):
    """The peer ended the session and said why."""


class NoAnswer(Temporary):
    """A member that was asked did not answer in time, or nothing leads to it now."""


class NotMember(Refused):
    """One of the two nodes is not a member of the store, as the other's manifest has it."""


class InvitationRefused(Refused):
    """An invitation that is malformed, expired, used, or not of that node."""
