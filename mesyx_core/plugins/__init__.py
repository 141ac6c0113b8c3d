"""The plugin host: imports what is named, quarantines what fails, finds providers by role and `use`."""

from mesyx_core.plugins.host import Host, Instance
from mesyx_core.plugins.plugin import Plugin, installed

__all__ = ["Host", "Instance", "Plugin", "installed"]
