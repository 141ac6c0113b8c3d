"""The plugin host: imports what is named, quarantines what fails, finds providers by role and `use`."""

from mesyx_core.plugins.plugin import Plugin, installed
from mesyx_core.plugins.registry import Instance, Registry

__all__ = ["Instance", "Plugin", "Registry", "installed"]
