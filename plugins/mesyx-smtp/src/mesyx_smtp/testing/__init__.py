"""What tests of outgoing mail need, all on loopback: a DNS server with a zone of their own, a scripted mail server, and
a Postfix whose every address can be told how to behave."""

from mesyx_smtp.testing.nameserver import NameServer
from mesyx_smtp.testing.postfix import Greylist, Postfix, postfix, relaying
from mesyx_smtp.testing.sink import Connection, Received, Sink

__all__ = ["Connection", "Greylist", "NameServer", "Postfix", "Received", "Sink", "postfix", "relaying"]
