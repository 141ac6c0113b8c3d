"""Sphinx: `nox -s docs`."""

project = "Mesyx"
author = "the Mesyx authors"
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
html_theme = "furo"
myst_heading_anchors = 3
myst_enable_extensions = ["deflist"]
