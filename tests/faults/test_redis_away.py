"""The Redis that limits are counted in goes away, or says nothing, and comes back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis
from sqlalchemy import URL

from tests.faults.conftest import Server, serving
from tests.support.crowd import crowd
from tests.support.services import OwnRedis
from tests.support.waiting import until

#: More than any test asks within a minute.
PLENTY = 1000


@contextmanager
def on(url: URL, folder: Path, own_redis: OwnRedis, **settings: str) -> Iterator[Server]:
    # One worker, so that what it counts by itself is all that is counted.
    with serving(url, folder, LANGFLOW_WORKERS="1", KEYTURN_REDIS_URL=own_redis.url, **settings) as server:
        yield server


def limited(server: Server, requests: int) -> str:
    body = {"name": f"limited to {requests}", "rate_limit": {"requests": requests, "window_seconds": 60}}
    return str(server.post("/api_key/", json=body).body["api_key"])


def counters(own_redis: OwnRedis) -> int:
    with redis.Redis.from_url(own_redis.url) as client:
        return len(client.keys("keyturn:limit:*"))


def test_limits_hold_in_each_worker_while_redis_is_away_and_for_all_when_it_is_back(
    sqlite_url: URL, tmp_path: Path, own_redis: OwnRedis
) -> None:
    with on(sqlite_url, tmp_path, own_redis) as server:
        few, many = limited(server, 3), limited(server, PLENTY)
        assert server.get("/users/whoami", few).status == 200
        with crowd(*[lambda: server.get("/users/whoami", many)] * 4) as busy:
            own_redis.stop()
            seen = len(busy.answers)
            until(lambda: len(busy.answers) >= seen + 40, seconds=60)
            assert [server.get("/users/whoami", few).status for _ in range(4)] == [200, 200, 200, 429]
            own_redis.start()
            until(lambda: counters(own_redis) > 0, seconds=30)
        assert busy.statuses() == {200}
        lines = [line for line in server.process.output.splitlines() if "service.adapters.limits" in line]
    assert len(lines) == 2
    assert "cannot be counted for all workers" in lines[0]
    assert "are counted for all workers again" in lines[1]


def test_a_redis_that_says_nothing_counts_as_away(sqlite_url: URL, tmp_path: Path, own_redis: OwnRedis) -> None:
    with on(sqlite_url, tmp_path, own_redis, KEYTURN_REQUEST_LIMIT_WHEN_AWAY="refuse") as server:
        key = limited(server, PLENTY)
        assert server.get("/users/whoami", key).status == 200
        own_redis.freeze()
        try:
            with crowd(*[lambda: server.get("/users/whoami", key)] * 4) as busy:
                until(lambda: len(busy.answers) >= 60, seconds=60)
            assert busy.statuses() == {503}
        finally:
            own_redis.thaw()
        until(lambda: server.get("/users/whoami", key).status == 200, seconds=30)


def test_a_server_starts_without_its_redis(sqlite_url: URL, tmp_path: Path, own_redis: OwnRedis) -> None:
    own_redis.stop()
    with on(sqlite_url, tmp_path, own_redis) as server:
        key = limited(server, 1)
        assert [server.get("/users/whoami", key).status for _ in range(2)] == [200, 429]
