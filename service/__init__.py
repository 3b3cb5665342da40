"""Keyturn: a small, hardened server for Langflow flows behind API keys."""

__version__ = "0.1.0"
