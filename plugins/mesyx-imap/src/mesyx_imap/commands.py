"""Every command by its name."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from mesyx_imap import capability, fetch, filing, folders, listing, login, search, selecting, store
from mesyx_imap.session import Entry, When

_P, _S = When.PERSON, When.SELECTED

COMMANDS: Mapping[bytes, Entry] = {
    b"CAPABILITY": Entry(capability.capability),
    b"ID": Entry(capability.identify),
    b"NOOP": Entry(selecting.noop),
    b"LOGOUT": Entry(login.logout),
    b"STARTTLS": Entry(login.starttls, When.STRANGER),
    b"AUTHENTICATE": Entry(login.authenticate, When.STRANGER),
    b"LOGIN": Entry(login.login, When.STRANGER),
    b"ENABLE": Entry(capability.enable, _P),
    b"NAMESPACE": Entry(capability.namespace, _P),
    b"SELECT": Entry(selecting.select, _P),
    b"EXAMINE": Entry(selecting.examine, _P),
    b"CREATE": Entry(folders.create, _P),
    b"DELETE": Entry(folders.delete, _P),
    b"RENAME": Entry(folders.rename, _P),
    b"SUBSCRIBE": Entry(folders.subscribe, _P),
    b"UNSUBSCRIBE": Entry(folders.unsubscribe, _P),
    b"LIST": Entry(listing.list_, _P),
    b"LSUB": Entry(listing.lsub, _P),
    b"STATUS": Entry(listing.status, _P),
    b"APPEND": Entry(filing.append, _P),
    b"IDLE": Entry(selecting.idle, _P),
    b"CHECK": Entry(selecting.check, _S),
    b"CLOSE": Entry(selecting.close, _S),
    b"UNSELECT": Entry(selecting.unselect, _S),
    b"EXPUNGE": Entry(filing.expunge, _S),
    b"SEARCH": Entry(search.search, _S, expunge=False),
    b"FETCH": Entry(fetch.fetch, _S, expunge=False),
    b"STORE": Entry(store.store, _S, expunge=False),
    b"COPY": Entry(filing.copy, _S),
    b"MOVE": Entry(filing.move, _S),
    b"UID EXPUNGE": Entry(filing.uid_expunge, _S),
    b"UID SEARCH": Entry(partial(search.search, by_uid=True), _S),
    b"UID FETCH": Entry(partial(fetch.fetch, by_uid=True), _S),
    b"UID STORE": Entry(partial(store.store, by_uid=True), _S),
    b"UID COPY": Entry(partial(filing.copy, by_uid=True), _S),
    b"UID MOVE": Entry(partial(filing.move, by_uid=True), _S),
}
