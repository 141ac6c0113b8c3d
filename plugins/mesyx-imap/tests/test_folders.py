"""Mailboxes: made, renamed, deleted, subscribed, listed."""

from __future__ import annotations

from .transcript import play, with_mail

_FIXED = """S: * LIST (\\HasNoChildren \\Archive) "/" Archive
        S: * LIST (\\HasNoChildren \\Drafts) "/" Drafts
        S: * LIST (\\HasNoChildren \\Junk) "/" Junk
        S: * LIST (\\HasNoChildren \\Sent) "/" Sent
        S: * LIST (\\HasNoChildren \\Trash) "/" Trash"""


def test_list_shows_special_uses_and_children() -> None:
    play(
        f"""
        C: a CREATE work/2026/
        S: a OK [MAILBOXID (F…
        C: b LIST "" *
        S: * LIST (\\HasNoChildren) "/" INBOX
        {_FIXED}
        S: * LIST (\\HasChildren) "/" work
        S: * LIST (\\HasNoChildren) "/" work/2026
        S: b OK Listed
        C: c LIST "" %
        S: * LIST (\\HasNoChildren) "/" INBOX
        {_FIXED}
        S: * LIST (\\HasChildren) "/" work
        S: c OK Listed
        C: d LIST work/ %
        S: * LIST (\\HasNoChildren) "/" work/2026
        S: d OK Listed
        C: e LIST "" "wo*6"
        S: * LIST (\\HasNoChildren) "/" work/2026
        S: e OK Listed
        C: f LIST "" ""
        S: * LIST (\\Noselect) "/" ""
        S: f OK Listed
        C: g LIST "" inbox
        S: * LIST (\\HasNoChildren) "/" INBOX
        S: g OK Listed
        """
    )


def test_extended_list() -> None:
    play(
        """
        C: a LIST (SPECIAL-USE) "" (S* Tr%)
        S: * LIST (\\HasNoChildren \\Sent) "/" Sent
        S: * LIST (\\HasNoChildren \\Trash) "/" Trash
        S: a OK Listed
        C: b UNSUBSCRIBE Sent
        S: b OK Unsubscribed
        C: c SUBSCRIBE gone/once
        S: c OK Subscribed
        C: d LIST (SUBSCRIBED) "" (S* g*)
        S: * LIST (\\NonExistent \\HasNoChildren \\Subscribed) "/" gone/once
        S: d OK Listed
        C: e LIST "" Tr% RETURN (SUBSCRIBED CHILDREN SPECIAL-USE STATUS (MESSAGES UNSEEN))
        S: * LIST (\\HasNoChildren \\Trash \\Subscribed) "/" Trash
        S: * STATUS Trash (MESSAGES 0 UNSEEN 0)
        S: e OK Listed
        C: f LIST (NOSUCH) "" *
        S: f BAD Unknown LIST option
        C: g LIST "" * RETURN (NOSUCH)
        S: g BAD Unknown LIST option
        """
    )


def test_lsub_shows_names_whether_or_not_they_exist() -> None:
    play(
        """
        C: a SUBSCRIBE lists/mesyx
        S: a OK Subscribed
        C: b LSUB "" l*
        S: * LSUB (\\Noselect) "/" lists
        S: * LSUB () "/" lists/mesyx
        S: b OK Listed
        C: c LSUB "" l%
        S: * LSUB (\\Noselect) "/" lists
        S: c OK Listed
        C: d UNSUBSCRIBE lists/mesyx
        S: d OK Unsubscribed
        C: e LSUB "" l*
        S: e OK Listed
        """
    )


def test_names_travel_in_modified_utf7() -> None:
    play(
        """
        C: a CREATE "Entw&APw-rfe &- mehr"
        S: a OK [MAILBOXID (F…
        C: b LIST "" E*
        S: * LIST (\\HasNoChildren) "/" "Entw&APw-rfe &- mehr"
        S: b OK Listed
        C: c STATUS "Entw&APw-rfe &- mehr" (MESSAGES)
        S: * STATUS "Entw&APw-rfe &- mehr" (MESSAGES 0)
        S: c OK That is its status
        C: d CREATE "a&b"
        S: d NO [CANNOT] Mailbox name is not modified UTF-7
        """
    )


def test_what_cannot_be_made() -> None:
    play(
        """
        C: a CREATE INBOX
        S: a NO [ALREADYEXISTS] There is one of that name
        C: b CREATE "a//b"
        S: b NO [CANNOT] Empty level in a mailbox name
        C: c CREATE "a*"
        S: c NO [CANNOT] Not a mailbox name
        C: d DELETE INBOX
        S: d NO [CANNOT] INBOX cannot be deleted
        C: e DELETE nowhere
        S: e NO [NONEXISTENT] No such mailbox
        C: f DELETE Sent
        S: f NO [CANNOT] this mailbox stays
        C: g RENAME nowhere there
        S: g NO [NONEXISTENT] No such mailbox
        C: h RENAME INBOX Sent
        S: h NO [ALREADYEXISTS] There is one of that name
        """
    )


def test_rename_takes_what_is_below_along() -> None:
    play(
        """
        C: a CREATE one/two/three
        S: a OK …
        C: b RENAME one/two other/deep
        S: b OK Renamed
        C: c LIST "" o*
        S: * LIST (\\HasNoChildren) "/" one
        S: * LIST (\\HasChildren) "/" other
        S: * LIST (\\HasChildren) "/" other/deep
        S: * LIST (\\HasNoChildren) "/" other/deep/three
        S: c OK Listed
        C: d RENAME other other/deep/er
        S: d NO [CANNOT] A mailbox cannot go below itself
        C: e DELETE other/deep
        S: e OK Deleted
        C: f LIST "" oth*
        S: * LIST (\\HasChildren) "/" other
        S: * LIST (\\Noselect \\HasChildren) "/" other/deep
        S: * LIST (\\HasNoChildren) "/" other/deep/three
        S: f OK Listed
        """
    )


def test_renaming_inbox_empties_it() -> None:
    play(
        """
        C: a RENAME INBOX old
        S: a OK Renamed
        C: b STATUS INBOX (MESSAGES)
        S: * STATUS INBOX (MESSAGES 0)
        S: b OK That is its status
        C: c STATUS old (MESSAGES UIDNEXT)
        S: * STATUS old (MESSAGES 2 UIDNEXT 3)
        S: c OK That is its status
        """,
        with_mail(2),
    )


def test_status_knows_its_items_only() -> None:
    play(
        """
        C: a STATUS INBOX (MESSAGES MAILBOXID)
        S: * STATUS INBOX (MESSAGES 0 MAILBOXID (F9ZkczlP1WOkcRS000yxBFhGPy3LL5-ApT4WF8mZYzjo))
        S: a OK That is its status
        C: b STATUS INBOX (NOSUCH)
        S: b BAD Unknown status item
        C: c STATUS INBOX ()
        S: c BAD Unknown status item
        C: d STATUS nowhere (MESSAGES)
        S: d NO [NONEXISTENT] No such mailbox
        """
    )
