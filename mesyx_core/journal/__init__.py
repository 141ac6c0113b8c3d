"""The logs of a node's stores on its disk: group commit, blobs, and the node's own sealed rows. Ciphertext only."""

from mesyx_core.journal.blobs import Partial, PendingBlob
from mesyx_core.journal.errors import BlobAbsent, CommitFailed, CommitUnknown, Diverged, InUse, LogEnded, Unreadable
from mesyx_core.journal.journal import Journal
from mesyx_core.journal.log import Draft, Log

__all__ = [
    "BlobAbsent",
    "CommitFailed",
    "CommitUnknown",
    "Diverged",
    "Draft",
    "InUse",
    "Journal",
    "Log",
    "LogEnded",
    "Partial",
    "PendingBlob",
    "Unreadable",
]
