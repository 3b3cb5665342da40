"""The command line: ``keyturn``, also installed as ``langflow``."""

from service.cli.main import main

__all__ = ["main"]
