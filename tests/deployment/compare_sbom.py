"""Compare a list of software (CycloneDX) with what is installed beside this Python; ``make sbom`` runs it."""

from __future__ import annotations

import json
import re
import sys
from importlib import metadata
from pathlib import Path


def main() -> None:
    listed = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    named = {(_plain(one["name"]), one["version"]) for one in listed["components"]}
    installed = {(_plain(one.name), one.version) for one in metadata.distributions()}
    if missing := sorted(installed - named):
        sys.exit(f"not listed: {missing}")
    print(f"{sys.argv[1]} lists all {len(installed)} packages")


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    main()
