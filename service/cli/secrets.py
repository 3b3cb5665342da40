"""``keyturn secrets``: the server's secret, its fit, and encrypting anew."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from service import boot
from service.adapters.vault import FernetVault
from service.cli.options import env_file_option, read_settings
from service.domain import audit, reencryption
from service.domain.audit import CONSOLE, Action
from service.domain.errors import NotDecryptable
from service.domain.reencryption import Progress
from service.storage.base import utc_now
from service.storage.engine import begin_write


@click.group("secrets")
def group() -> None:
    """Check the server's secret, and encrypt everything anew after changing it."""


@group.command("check")
@env_file_option
def check(env_file: Path | None) -> None:
    """Say in one line whether the secret fits the data.

    Status 0: everything opens. 1: some values do not. 3: the secret is not this database's.
    """
    settings = read_settings(env_file)
    boot.prepare(settings)
    vault, source = boot.open_vault(settings)
    engine = boot.open_engine(settings)
    with Session(engine) as session:
        texts = reencryption.texts(session)
        former = reencryption.left(session, vault.key_id)
    engine.dispose()
    broken = sum(1 for text in texts if not _opens(vault, text))
    if broken:
        click.echo(f"keyturn: {broken} of {len(texts)} values do not open with the secret from {source}", err=True)
        raise SystemExit(1)
    rest = f", {former} of them with a former secret: run `keyturn secrets rotate`" if former else ""
    click.echo(f"The secret from {source} fits: {len(texts)} values open{rest}.")


@group.command("rotate")
@env_file_option
def rotate(env_file: Path | None) -> None:
    """Encrypt all values with the present secret, while the server goes on.

    First make every server know both secrets: LANGFLOW_SECRET_KEY the new one, KEYTURN_PREVIOUS_SECRET_KEYS the
    former one. Stopped in the middle, it goes on where it was. Afterwards the former secret can be removed.
    """
    settings = read_settings(env_file)
    boot.prepare(settings)
    vault, _ = boot.open_vault(settings)
    engine = boot.open_engine(settings)
    with Session(engine) as session:
        total = reencryption.left(session, vault.key_id)
    with click.progressbar(length=total, label="Encrypting anew", hidden=not total) as bar:
        seen = 0

        def tell(progress: Progress) -> None:
            nonlocal seen
            now = progress.done + len(progress.broken)
            bar.update(now - seen)
            seen = now

        progress = reencryption.reencrypt(_writer(engine), vault, vault.key_id, tell)
    with _writer(engine)() as session:
        if not progress.left and not progress.broken:
            reencryption.forget_others(session, vault.key_id)
        details = {"key_id": vault.key_id, "values": progress.done, "broken": len(progress.broken)}
        audit.record(session, CONSOLE, Action.SECRET_ROTATED, utc_now(), details=details)
        session.commit()
    engine.dispose()
    if progress.broken:
        names = ", ".join(progress.broken[:5])
        click.echo(f"keyturn: {len(progress.broken)} values open with no known secret and stay: {names}", err=True)
        raise SystemExit(1)
    click.echo(f"{progress.done} values encrypted anew; everything has the present secret {vault.key_id}.")


def _opens(vault: FernetVault, text: str) -> bool:
    try:
        vault.decrypt(text)
    except NotDecryptable:
        return False
    return True


def _writer(engine: Engine) -> Callable[[], Session]:
    return lambda: begin_write(Session(engine))
