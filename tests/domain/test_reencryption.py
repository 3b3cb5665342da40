"""Encrypting anew while others read and write, stopped in the middle, and started again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from sqlalchemy import URL, Engine, select
from sqlalchemy.orm import Session

from service import boot
from service.adapters.vault import FernetVault
from service.domain import reencryption
from service.settings import Settings
from service.storage import McpServer, User, Variable
from service.storage.engine import begin_write, create_engine

OLD, NEW = "the-old-secret-0123456789-abcdefgh", "the-new-secret-0123456789-abcdefgh"
NOW = datetime(2030, 1, 1, tzinfo=UTC)


class Stopped(Exception):
    """Somebody pulled the plug."""


@pytest.fixture
def engine(make_settings: Callable[..., Settings], database_url: URL) -> Iterator[Engine]:
    boot.prepare(make_settings(database_url, secret_key=OLD))
    made = create_engine(database_url)
    with Session(made) as session:
        owner, vault = session.scalars(select(User.id)).one(), FernetVault(OLD)
        for number in range(250):
            text = vault.encrypt(str(number))
            session.add(Variable(user_id=owner, name=str(number), type="Credential", ciphertext=text, updated_at=NOW))
        session.commit()
    yield made
    made.dispose()


@pytest.fixture
def both() -> FernetVault:
    return FernetVault(NEW, [OLD])


def writer(engine: Engine) -> Callable[[], Session]:
    return lambda: begin_write(Session(engine))


def opened(engine: Engine, vault: FernetVault) -> list[str]:
    with Session(engine) as session:
        return sorted(vault.decrypt(row.ciphertext) for row in session.scalars(select(Variable)))


def test_stopped_in_the_middle_everything_opens_and_the_rest_is_done_later(engine: Engine, both: FernetVault) -> None:
    def stop(progress: reencryption.Progress) -> None:
        raise Stopped

    before = opened(engine, both)
    with pytest.raises(Stopped):
        reencryption.reencrypt(writer(engine), both, both.key_id, stop)
    with Session(engine) as session:
        assert reencryption.left(session, both.key_id) == 150
    assert opened(engine, both) == before
    assert reencryption.reencrypt(writer(engine), both, both.key_id, lambda _: None).done == 150
    assert opened(engine, FernetVault(NEW)) == before


def test_a_value_that_somebody_changes_meanwhile_stays_as_they_wrote_it(engine: Engine, both: FernetVault) -> None:
    with Session(engine) as session:
        last = session.scalars(select(Variable).order_by(Variable.id.desc()).limit(1)).one().id

    def change(progress: reencryption.Progress) -> None:
        with writer(engine)() as session:
            session.get_one(Variable, last).ciphertext = FernetVault(NEW, [OLD]).encrypt("changed")
            session.commit()

    reencryption.reencrypt(writer(engine), both, both.key_id, change)
    with Session(engine) as session:
        assert both.decrypt(session.get_one(Variable, last).ciphertext) == "changed"


def test_each_batch_is_told(engine: Engine, both: FernetVault) -> None:
    seen: list[tuple[int, int]] = []
    reencryption.reencrypt(writer(engine), both, both.key_id, lambda now: seen.append((now.done, now.left)))
    assert seen == [(100, 150), (200, 50), (250, 0)]


def test_the_list_of_mcp_servers_is_encrypted_anew_too(engine: Engine, both: FernetVault) -> None:
    with Session(engine) as session:
        owner, text = session.scalars(select(User.id)).one(), FernetVault(OLD).encrypt("{}")
        session.add(McpServer(user_id=owner, name="weather", ciphertext=text))
        session.commit()
    done = reencryption.reencrypt(writer(engine), both, both.key_id, lambda now: None)
    with Session(engine) as session:
        row = session.scalars(select(McpServer)).one()
    assert (done.done, done.left, FernetVault(NEW).decrypt(row.ciphertext)) == (251, 0, "{}")
