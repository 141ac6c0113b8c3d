"""A provider for every role that has no network outside the process: to test the core with, and to read as examples."""

from mesyx_core.testing.memory.access import access
from mesyx_core.testing.memory.command import command
from mesyx_core.testing.memory.crypto import crypto
from mesyx_core.testing.memory.filter import filter_
from mesyx_core.testing.memory.mail import PostOffice
from mesyx_core.testing.memory.transport import dialer, stick

__all__ = ["PostOffice", "access", "command", "crypto", "dialer", "filter_", "stick"]
