"""``langflow api-key``: a key for the superuser, as Langflow's documents make one."""

from __future__ import annotations

from pathlib import Path

import click
from rich.box import ROUNDED
from rich.console import Console
from rich.panel import Panel

from service.cli.options import env_file_option, read_settings, the_superuser, workplace
from service.domain import keys
from service.domain.audit import Actor
from service.storage.base import utc_now


@click.command("api-key")
@env_file_option
@click.option("--name", default="CLI", show_default=True, help="What the key is called in lists.")
@click.option("--plain", is_flag=True, help="Print the key alone, for scripts.")
@click.option("--log-level", hidden=True, help="Langflow's; without effect.")
def api_key(env_file: Path | None, name: str, plain: bool, log_level: str | None) -> None:
    """Make an API key for the superuser and show it, this once.

    Works whether the server runs or not. With AUTO_LOGIN off it needs the superuser's password:
    LANGFLOW_SUPERUSER_PASSWORD, or it asks. It only ever adds a key; none is replaced.
    """
    del log_level
    settings = read_settings(env_file)
    with workplace(settings) as place:
        owner = the_superuser(place, settings)
        _, key = keys.create(place.session, Actor.at_the_console(owner), owner.id, keys.NewKey(name), utc_now())
    if plain:
        click.echo(key)
        return
    text = (
        "API Key Created Successfully:\n\n"
        f"[bold]{key}[/bold]\n\n"
        "This is the only time the API key will be displayed.\n"
        "Make sure to store it in a secure location.\n"
        "Send it in the x-api-key header of each request."
    )
    Console(width=78, highlight=False).print(Panel(text, box=ROUNDED, expand=False, padding=(1, 2)))
