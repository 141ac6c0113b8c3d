"""The composition: one node of journal, stores, plugins and exchange, and what commands ask of it."""

from mesyx_core.node.run import call, run

__all__ = ["call", "run"]
