"""``keyturn quickstart``: what ``make run`` runs; a server with demo flows, and a curl to paste."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import click
from rich.box import ROUNDED
from rich.console import Console
from rich.panel import Panel

from service import boot
from service.cli.options import env_file_option, read_settings, workplace
from service.cli.run import refuse_taken_port, serve
from service.domain import keys
from service.domain.audit import BOOT
from service.domain.usernames import by_name
from service.settings import Settings
from service.start_screen import address
from service.storage.base import utc_now

_FLOW = "keyturn-echo"


@click.command("quickstart")
@env_file_option
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=int, help="Port to listen on.  [default: 7860]")
def quickstart(env_file: Path | None, host: str | None, port: int | None) -> None:
    """Start a server with two demo flows, and print a curl that can be pasted.

    The superuser's password and the key are shown at the first start only.
    """
    settings = replace(read_settings(env_file, host=host, port=port), demo_flows=True)
    refuse_taken_port(settings)
    facts = boot.prepare(settings)
    key = _first_key(settings) if facts.keys == 0 else None
    panel, curl = _panel(settings, facts), _curl(settings, key)
    serve(settings, when_answering=lambda: _show(panel, curl))


def _first_key(settings: Settings) -> str | None:
    with workplace(settings) as place:
        owner = by_name(place.session, settings.superuser)
        if owner is None:
            return None
        return keys.create(place.session, BOOT, owner.id, keys.NewKey("quickstart"), utc_now())[1]


def _panel(settings: Settings, facts: boot.Facts) -> str:
    password = facts.made_password or "as you set it, or as the first start showed it"
    lines = [
        f"Keyturn answers at   {address(settings)}",
        f"Superuser            {facts.superuser}",
        f"Password             {password}",
    ]
    if facts.made_password:
        lines += ["", "The password is shown this once."]
    return "\n".join(lines)


def _curl(settings: Settings, key: str | None) -> str:
    intro = "Run the demo flow; the key is shown this once:" if key else "Run the demo flow with a key of yours:"
    lines = [
        "",
        intro,
        "",
        f"curl -X POST {address(settings)}/api/v1/run/{_FLOW} \\",
        f"  -H 'x-api-key: {key or 'YOUR_KEY'}' \\",
        "  -H 'content-type: application/json' \\",
        '  -d \'{"input_value": "Hello"}\'',
        "",
        "The flow keyturn-chat needs OPENAI_API_KEY. More keys:",
        f"LANGFLOW_CONFIG_DIR={settings.config_dir} {sys.argv[0]} api-key",
    ]
    return "\n".join(lines)


def _show(panel: str, curl: str) -> None:
    Console(width=78, highlight=False).print(Panel(panel, box=ROUNDED, expand=False, padding=(1, 2)), markup=False)
    # Outside the box and never wrapped: it must survive being copied.
    print(curl, flush=True)
