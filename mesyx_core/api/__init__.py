"""All that a plugin may import, besides `mesyx_core.mime` and `mesyx_core.wire`."""

from mesyx_core.api.context import Context, Delivery, Health, Listener, Peer, State, Tls
from mesyx_core.api.errors import Locked, LoginFailed, MesyxError, Misconfigured, Permanent, Refused, Temporary
from mesyx_core.api.message import Body, Bytes, Direction, Importance, Kind, Message, Scalar
from mesyx_core.api.provider import Command, Control, Hooks, Provider, hookimpl, hookspec
from mesyx_core.api.roles import (
    Access,
    Answers,
    Controlled,
    Crypto,
    Dialer,
    Duplex,
    Egress,
    Filter,
    Ingress,
    Opened,
    Physics,
    Simplex,
    Stage,
    Volume,
)
from mesyx_core.api.verdict import ACCEPT, Outcome, Receipt, Verdict
from mesyx_core.api.view import (
    Change,
    Changed,
    Create,
    Delete,
    Done,
    Field,
    File,
    Flag,
    Mailbox,
    Query,
    Remove,
    Rename,
    Row,
    Subscribe,
    Uids,
    View,
)

__all__ = [
    "ACCEPT", "Access", "Answers", "Body", "Bytes", "Change", "Changed", "Command", "Context", "Control", "Controlled", "Create",
    "Crypto", "Delete", "Delivery", "Dialer", "Direction", "Done", "Duplex", "Egress", "Field", "File", "Filter", "Flag", "Health",
    "Hooks", "Importance", "Ingress", "Kind", "Listener", "Locked", "LoginFailed", "Mailbox", "MesyxError", "Message", "Misconfigured",
    "Opened", "Outcome", "Peer", "Permanent", "Physics", "Provider", "Query", "Receipt", "Refused", "Remove", "Rename", "Row",
    "Scalar", "Simplex", "Stage", "State", "Subscribe", "Temporary", "Tls", "Uids", "Verdict", "View", "Volume", "hookimpl", "hookspec",
]  # fmt: skip
