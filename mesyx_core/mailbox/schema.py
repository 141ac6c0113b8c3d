"""Tables of the index: the common file knows what is where and how it is flagged; a keyset's, what was in messages.

An entry is one integer everywhere: its origin's row << 40 | seq. A *shown* message is a group of entries that are the
same message, named by the one indexed first. A *key* is what dots are kept for: membership of a mailbox (mailbox, ''),
a flag (0, flag), or a flag that holds in one mailbox only (mailbox, flag). All of it can be had from the log again, so
another version means a rebuild.
"""

from __future__ import annotations

from typing import Final

VERSION: Final = 5

COMMON: Final = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID",
    # How far each log is opened; what was passed over, why, and the entry it waits for.
    """CREATE TABLE origin (id INTEGER PRIMARY KEY, node BLOB NOT NULL, incarnation BLOB NOT NULL,
       cursor INTEGER NOT NULL DEFAULT 0, UNIQUE (node, incarnation))""",
    "CREATE TABLE pending (entry INTEGER PRIMARY KEY, why TEXT NOT NULL, cause INTEGER NOT NULL DEFAULT 0)",
    "CREATE INDEX pending_why ON pending (why)",
    # Epochs, and their seeds as they are sealed: by the epoch's own entry, and by reseal entries.
    """CREATE TABLE epoch (origin INTEGER, number INTEGER, entry INTEGER NOT NULL, commitment BLOB NOT NULL,
       used BLOB NOT NULL, closed INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (origin, number)) WITHOUT ROWID""",
    """CREATE TABLE seal (entry INTEGER PRIMARY KEY, origin INTEGER NOT NULL, number INTEGER NOT NULL,
       target TEXT NOT NULL, target_id BLOB NOT NULL, sealed BLOB NOT NULL, good INTEGER NOT NULL)""",
    "CREATE INDEX seal_epoch ON seal (origin, number)",
    "CREATE INDEX seal_target ON seal (target_id)",
    "CREATE TABLE violation (entry INTEGER PRIMARY KEY, what TEXT NOT NULL)",
    # Ops on entries that are not known yet, in the order in which they came.
    "CREATE TABLE op (id INTEGER PRIMARY KEY, data BLOB NOT NULL)",
    """CREATE TABLE waiting (arrival INTEGER PRIMARY KEY, entry INTEGER NOT NULL, op INTEGER NOT NULL,
       n INTEGER NOT NULL)""",
    "CREATE INDEX waiting_entry ON waiting (entry)",
    # Messages.
    """CREATE TABLE keyset (id INTEGER PRIMARY KEY, target TEXT NOT NULL, target_id BLOB NOT NULL,
       UNIQUE (target, target_id))""",
    """CREATE TABLE entry (id INTEGER PRIMARY KEY, shown INTEGER NOT NULL, keyset INTEGER NOT NULL,
       time INTEGER NOT NULL, link BLOB)""",
    # What was sealed under a key that somebody else has was sealed anew, and purged: by which entry.
    "CREATE TABLE stand (old INTEGER PRIMARY KEY, new INTEGER NOT NULL)",
    "CREATE INDEX entry_shown ON entry (shown) WHERE shown != id",
    "CREATE INDEX entry_link ON entry (link) WHERE link IS NOT NULL",
    """CREATE TABLE dot (entry INTEGER, key INTEGER, op INTEGER, n INTEGER, PRIMARY KEY (entry, key, op, n))
       WITHOUT ROWID""",
    "CREATE TABLE key (id INTEGER PRIMARY KEY, mailbox INTEGER NOT NULL, flag TEXT NOT NULL, UNIQUE (mailbox, flag))",
    "CREATE TABLE flags (id INTEGER PRIMARY KEY, names TEXT NOT NULL UNIQUE)",
    """CREATE TABLE shown (id INTEGER PRIMARY KEY, keyset INTEGER NOT NULL, time INTEGER NOT NULL, email BLOB NOT NULL,
       thread BLOB NOT NULL)""",
    # Mailboxes, their names (a register) and what is in them.
    """CREATE TABLE mailbox (id INTEGER PRIMARY KEY, mid BLOB NOT NULL UNIQUE, known INTEGER NOT NULL DEFAULT 0,
       dropped INTEGER NOT NULL DEFAULT 0, implied INTEGER NOT NULL DEFAULT 0, first TEXT NOT NULL DEFAULT '',
       clock INTEGER NOT NULL DEFAULT 0, uidvalidity INTEGER NOT NULL, uidnext INTEGER NOT NULL DEFAULT 1,
       modseq INTEGER NOT NULL DEFAULT 1)""",
    """CREATE TABLE name (mailbox INTEGER, op INTEGER, n INTEGER, name TEXT NOT NULL, clock INTEGER NOT NULL,
       PRIMARY KEY (mailbox, op, n)) WITHOUT ROWID""",
    "CREATE TABLE subscription (name TEXT, op INTEGER, n INTEGER, PRIMARY KEY (name, op, n)) WITHOUT ROWID",
    """CREATE TABLE place (mailbox INTEGER, uid INTEGER, shown INTEGER NOT NULL, flags INTEGER NOT NULL,
       added INTEGER NOT NULL, modseq INTEGER NOT NULL, PRIMARY KEY (mailbox, uid)) WITHOUT ROWID""",
    # How many messages of a mailbox have exactly these flags: gives all counts, and the keywords in use.
    "CREATE TABLE tally (mailbox INTEGER, flags INTEGER, count INTEGER, PRIMARY KEY (mailbox, flags)) WITHOUT ROWID",
    "CREATE UNIQUE INDEX place_shown ON place (shown, mailbox)",
    "CREATE INDEX place_modseq ON place (mailbox, modseq)",
    """CREATE TABLE vanished (modseq INTEGER, mailbox INTEGER, uid INTEGER, PRIMARY KEY (modseq, mailbox, uid))
       WITHOUT ROWID""",
    # What goes out: facts as they were told, by whom; `state` and `ended` are what follows from them.
    "CREATE TABLE gateway (node BLOB PRIMARY KEY, time INTEGER NOT NULL, networks TEXT NOT NULL) WITHOUT ROWID",
    """CREATE TABLE day (node BLOB, id BLOB, recipient TEXT NOT NULL, since INTEGER NOT NULL, until INTEGER NOT NULL,
       PRIMARY KEY (node, id)) WITHOUT ROWID""",
    """CREATE TABLE submission (id BLOB PRIMARY KEY, copy INTEGER NOT NULL DEFAULT 0, digest BLOB, time INTEGER,
       network TEXT NOT NULL DEFAULT 'mail', sender TEXT NOT NULL DEFAULT '', state TEXT NOT NULL DEFAULT '',
       ended INTEGER) WITHOUT ROWID""",
    "CREATE INDEX submission_digest ON submission (digest) WHERE digest IS NOT NULL",
    "CREATE INDEX submission_open ON submission (id) WHERE ended IS NULL",
    """CREATE TABLE note (submission BLOB, entry INTEGER, action TEXT NOT NULL, gateway BLOB NOT NULL,
       day BLOB NOT NULL, deadline INTEGER NOT NULL, time INTEGER NOT NULL, PRIMARY KEY (submission, entry))
       WITHOUT ROWID""",
    """CREATE TABLE addressee (submission BLOB, number INTEGER, address TEXT NOT NULL, PRIMARY KEY (submission, number))
       WITHOUT ROWID""",
    """CREATE TABLE fate (submission BLOB, gateway BLOB, number INTEGER, day BLOB NOT NULL, word TEXT NOT NULL,
       reason TEXT NOT NULL, remote TEXT NOT NULL, attempts INTEGER NOT NULL, next INTEGER, time INTEGER NOT NULL,
       entry INTEGER NOT NULL, PRIMARY KEY (submission, gateway, number)) WITHOUT ROWID""",
    """CREATE TABLE intent (submission BLOB, gateway BLOB, number INTEGER, attempt INTEGER NOT NULL,
       time INTEGER NOT NULL, entry INTEGER NOT NULL, PRIMARY KEY (submission, gateway, number)) WITHOUT ROWID""",
    # Accounts on other networks, and which node holds them; one that was removed stays, so that older words end there.
    """CREATE TABLE account (name TEXT, node BLOB, rank BLOB NOT NULL, time INTEGER NOT NULL, removed INTEGER NOT NULL,
       use TEXT NOT NULL, via TEXT NOT NULL, settings TEXT NOT NULL, PRIMARY KEY (name, node)) WITHOUT ROWID""",
)

KEYSET: Final = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID",
    # `head` and `body` are the folded text that a search looks into, compressed.
    """CREATE TABLE message (id INTEGER PRIMARY KEY, size INTEGER NOT NULL, sent INTEGER, envelope BLOB NOT NULL,
       structure BLOB NOT NULL)""",
    "CREATE TABLE text (id INTEGER PRIMARY KEY, head BLOB NOT NULL, body BLOB NOT NULL)",
    """CREATE VIRTUAL TABLE trigram USING fts5 (text, content = '', columnsize = 0, detail = none,
       tokenize = 'trigram case_sensitive 1')""",  # one more for each file that was folded into this one
    # Leaves that fit a page less SQLCipher's 80 bytes of IV and MAC.
    "INSERT INTO trigram (trigram, rank) VALUES ('pgsz', 3900)",
)
