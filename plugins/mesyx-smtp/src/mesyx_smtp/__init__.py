"""Mesyx plugin: smtp."""
