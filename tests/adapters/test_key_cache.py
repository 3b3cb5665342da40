"""Checked keys in memory: a revocation is seen at the very next request."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import URL, Engine, delete, event, select, update
from sqlalchemy.orm import Session

from service import boot
from service.adapters import key_cache
from service.adapters.key_cache import CommitCache, NoCache
from service.domain import key_records, keys
from service.domain.audit import BOOT
from service.settings import Settings
from service.storage import ApiKey, User
from service.storage.engine import begin_write, create_engine
from tests.support.client import Api
from tests.support.waiting import until


@pytest.fixture
def engine(make_settings: Callable[..., Settings], sqlite_url: URL) -> Iterator[Engine]:
    boot.prepare(make_settings(sqlite_url))
    made = create_engine(sqlite_url)
    yield made
    made.dispose()


@pytest.fixture
def cache(engine: Engine, sqlite_url: URL) -> Iterator[CommitCache]:
    made = CommitCache(Path(str(sqlite_url.database)))
    yield made
    made.close()


@pytest.fixture
def digest(engine: Engine) -> str:
    with Session(engine) as session:
        owner = session.scalars(select(User.id)).one()
        row, _ = keys.create(session, BOOT, owner, keys.NewKey(None, None), datetime.now(UTC))
        session.commit()
        return row.digest


def look_up(engine: Engine, digest: str) -> key_records.KeyRecord | None:
    return key_records.find(engine, digest)


def revoke(engine: Engine, digest: str) -> None:
    with engine.begin() as connection:
        connection.execute(delete(ApiKey).where(ApiKey.digest == digest))


def test_an_entry_is_found_while_nobody_commits(cache: CommitCache, engine: Engine, digest: str) -> None:
    version, record = cache.version(), look_up(engine, digest)
    cache.put(digest, version, record)
    assert cache.get(digest, cache.version()) is record


def test_a_revocation_is_seen_at_once(cache: CommitCache, engine: Engine, digest: str) -> None:
    version = cache.version()
    cache.put(digest, version, look_up(engine, digest))
    revoke(engine, digest)
    assert cache.get(digest, cache.version()) is None


def test_a_look_up_that_a_revocation_overtakes_is_not_kept(cache: CommitCache, engine: Engine, digest: str) -> None:
    version, record = cache.version(), look_up(engine, digest)
    revoke(engine, digest)
    cache.put(digest, version, record)
    assert cache.get(digest, cache.version()) is None


def test_what_changes_no_key_costs_no_entry(cache: CommitCache, engine: Engine, digest: str) -> None:
    record = look_up(engine, digest)
    cache.put(digest, cache.version(), record)
    with Session(engine) as session:
        begin_write(session, quiet=True)
        session.execute(update(ApiKey).values(total_uses=7))
        session.commit()
    cache._look_again = float("inf")  # what other programs commit is not looked for
    assert cache.get(digest, cache.version()) is record


def test_a_connection_is_quiet_for_one_transaction_only(cache: CommitCache, engine: Engine, digest: str) -> None:
    with Session(engine) as session:
        begin_write(session, quiet=True)
        session.execute(update(ApiKey).values(total_uses=7))
        session.commit()
    cache.put(digest, cache.version(), look_up(engine, digest))
    revoke(engine, digest)
    assert cache.get(digest, cache.version()) is None


def test_a_new_key_costs_no_entry_and_its_revocation_does(make_app: Callable[..., Flask], sqlite_url: URL) -> None:
    api = Api.of_superuser(make_app(sqlite_url))
    own = api.app.extensions["keyturn"].keys
    api.get("/users/whoami")
    mark = own._generation.read()
    made = api.post("/api_key/", json={"name": "new"}).json
    assert made is not None
    assert own._generation.read() == mark
    api.delete(f"/api_key/{made['id']}")
    assert own._generation.read() != mark


def test_what_is_of_no_use_any_more_fills_no_memory(cache: CommitCache, engine: Engine, digest: str) -> None:
    for number in range(20):
        cache.put(f"{digest} {number}", cache.version(), "found")
        with engine.begin() as connection:
            connection.execute(update(User).values(is_active=bool(number % 2)))
    cache.version()
    assert len(cache._entries) == 0


def test_a_commit_of_another_process_is_seen_at_once(cache: CommitCache, engine: Engine, digest: str) -> None:
    cache.put(digest, cache.version(), look_up(engine, digest))
    code = (
        "import sys; from sqlalchemy import make_url, text; from service.storage.engine import create_engine;"
        "connection = create_engine(make_url(sys.argv[1])).connect();"
        'connection.execute(text("UPDATE user SET is_active = 0")); connection.commit()'
    )
    subprocess.run([sys.executable, "-c", code, str(engine.url)], check=True, timeout=60)
    cache._look_again = float("inf")  # what other programs commit is not looked for
    assert cache.get(digest, cache.version()) is None


def test_a_commit_of_another_program_is_seen_soon(cache: CommitCache, engine: Engine, digest: str) -> None:
    cache.put(digest, cache.version(), look_up(engine, digest))
    other = sqlite3.connect(str(engine.url.database))
    other.execute("UPDATE user SET is_active = 0")
    other.commit()
    other.close()
    until(lambda: cache.get(digest, cache.version()) is None)


def test_without_a_mark_every_commit_is_looked_for(engine: Engine, sqlite_url: URL, digest: str) -> None:
    path = Path(str(sqlite_url.database))
    mark = path.with_name(f"{path.name}-generation")
    mark.unlink()
    mark.mkdir()
    cache = CommitCache(path)
    cache.put(digest, cache.version(), look_up(engine, digest))
    found = cache.get(digest, cache.version())
    other = sqlite3.connect(path)
    other.execute("UPDATE user SET is_active = 0")
    other.commit()
    other.close()
    assert (found is not None, cache.get(digest, cache.version())) == (True, None)
    cache.close()


def test_a_commit_of_another_engine_is_seen_at_once(cache: CommitCache, engine: Engine, digest: str) -> None:
    cache.put(digest, cache.version(), look_up(engine, digest))
    other = create_engine(engine.url)
    with other.begin() as connection:
        connection.execute(update(User).values(is_active=False))
    other.dispose()
    assert cache.get(digest, cache.version()) is None


def test_a_transaction_that_is_rolled_back_costs_no_entry(cache: CommitCache, engine: Engine, digest: str) -> None:
    cache.put(digest, cache.version(), look_up(engine, digest))
    with engine.connect() as connection:
        connection.execute(delete(ApiKey))
        connection.rollback()
    assert cache.get(digest, cache.version()) is not None


def test_entries_that_begin_alike_are_never_mixed_up(cache: CommitCache) -> None:
    version = cache.version()
    cache.put("a" * 63 + "1", version, "one")
    assert cache.get("a" * 63 + "2", version) is None


def test_many_entries_do_not_fill_the_memory(cache: CommitCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_cache, "_MOST", 10)
    version = cache.version()
    for number in range(100):
        cache.put(str(number), version, "record")
    assert len(cache._entries) <= 10


def test_an_entry_does_not_outlive_a_closed_watch(cache: CommitCache) -> None:
    cache.put("digest", cache.version(), "record")
    cache.close()
    assert cache.get("digest", cache.version()) is None or not cache._entries


def test_no_cache_keeps_nothing() -> None:
    cache = NoCache()
    cache.put("digest", cache.version(), "record")
    assert cache.get("digest", cache.version()) is None


def test_a_used_key_is_refused_at_the_next_request_after_its_revocation(app: Flask, api: Api) -> None:
    made = api.post("/api_key/", json={"name": "to be revoked"}).json
    caller = Api(app, made["api_key"], api.user_id)
    assert caller.get("/users/whoami").status_code == 200
    api.delete(f"/api_key/{made['id']}")
    assert caller.get("/users/whoami").status_code == 403


def test_a_key_is_refused_at_the_next_request_after_its_owner_is_deactivated(api: Api, other: Api) -> None:
    assert other.get("/users/whoami").status_code == 200
    api.patch(f"/users/{other.user_id}", json={"is_active": False})
    assert other.get("/users/whoami").status_code == 403


def test_a_revocation_during_a_look_up_holds_from_the_next_request(app: Flask, api: Api) -> None:
    made = api.post("/api_key/", json={"name": "to be revoked"}).json
    caller = Api(app, made["api_key"], api.user_id)
    engine = app.extensions["keyturn"].lookups
    separate = create_engine(engine.url)

    def revoke_meanwhile(_connection: Any, _record: Any) -> None:
        # The connection on which the key was found is given back.
        with separate.begin() as connection:
            connection.execute(delete(ApiKey).where(ApiKey.id == uuid.UUID(made["id"])))

    event.listen(engine.pool, "checkin", revoke_meanwhile)
    overtaken = caller.get("/users/whoami").status_code
    event.remove(engine.pool, "checkin", revoke_meanwhile)
    separate.dispose()
    assert (overtaken, caller.get("/users/whoami").status_code) == (200, 403)


def test_a_file_that_cannot_be_opened_means_no_cache_and_no_error_of_its_own(tmp_path: Path) -> None:
    cache = CommitCache(tmp_path)
    assert cache.version() is None
    cache.put("key", None, "value")
    assert cache.get("key", None) is None
    cache.close()
