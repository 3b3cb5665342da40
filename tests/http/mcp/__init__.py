"""MCP endpoints of a real application; the official clients are in ``tests/clients``."""
