"""``keyturn quickstart``: what ``make run`` runs; a server with demo flows, and a curl to paste."""

from __future__ import annotations

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
    text = _panel_text(settings, facts, key)
    serve(settings, when_answering=lambda: _show(text))


def _first_key(settings: Settings) -> str | None:
    with workplace(settings) as place:
        owner = by_name(place.session, settings.superuser)
        if owner is None:
            return None
        return keys.create(place.session, owner.id, "quickstart", None, utc_now())[1]


def _panel_text(settings: Settings, facts: boot.Facts, key: str | None) -> str:
    password = facts.made_password or "as you set it, or as it was shown at the first start"
    lines = [
        f"Keyturn answers at   {address(settings)}",
        f"Superuser            {facts.superuser}",
        f"Password             {password}",
        "",
        "Run the demo flow:" if key else "Run the demo flow with a key of yours (a new one: keyturn api-key):",
        "",
        f"curl -X POST {address(settings)}/api/v1/run/{_FLOW} \\",
        f"  -H 'x-api-key: {key or 'YOUR_KEY'}' \\",
        "  -H 'content-type: application/json' \\",
        '  -d \'{"input_value": "Hello"}\'',
    ]
    if key:
        lines += ["", "Password and key are shown this once. The flow keyturn-chat needs OPENAI_API_KEY."]
    return "\n".join(lines)


def _show(text: str) -> None:
    # The curl must survive a narrow terminal unbroken, so the lines are never wrapped.
    width = max(map(len, text.splitlines())) + 6
    Console(width=width, highlight=False).print(Panel(text, box=ROUNDED, padding=(1, 2)), markup=False)
