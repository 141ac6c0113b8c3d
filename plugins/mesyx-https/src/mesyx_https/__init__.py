"""Mesyx plugin: https."""
