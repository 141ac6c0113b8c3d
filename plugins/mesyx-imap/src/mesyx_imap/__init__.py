"""Mesyx plugin: imap."""
