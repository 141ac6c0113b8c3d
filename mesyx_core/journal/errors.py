"""What can go wrong with a journal, by what the caller does about it."""

from __future__ import annotations

from mesyx_core.api import Permanent, Temporary


class CommitFailed(Temporary):
    """Nothing of the call was kept: disk full, or a database that is away. The indexes of its drafts are burnt."""


class CommitUnknown(Temporary):
    """The disk failed while committing: the call may or may not have been kept. Its logs are ended, begin new ones."""


class LogEnded(Temporary):
    """The log takes no more entries, after its end or after a commit of unknown outcome: begin a new one."""


class Diverged(Permanent):
    """Entries do not continue the log that is held: another branch, a gap, or a log that this node itself writes."""


class BlobAbsent(Temporary):
    """The blob is not held here, not yet or no longer."""


class InUse(Permanent):
    """Another process has the journal's folder open."""


class Unreadable(Permanent):
    """The journal's files are damaged, or were made by a later version."""
