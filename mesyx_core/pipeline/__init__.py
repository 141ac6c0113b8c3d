"""The way of a message into the log: filter, route, seal, commit, acknowledge. Decides and seals; whoever calls does
the I/O.
"""

from mesyx_core.pipeline.delivery import Intake
from mesyx_core.pipeline.sealer import Content, Sealer, ToDay, ToNode

__all__ = ["Content", "Intake", "Sealer", "ToDay", "ToNode"]
