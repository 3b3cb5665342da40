"""Limits: the same promises wherever they are counted, and what happens when that place is away."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from time import time

import pytest
from sqlalchemy import URL, Engine, func, select, text
from sqlalchemy.orm import Session

from service import boot
from service.adapters import limits, limits_database
from service.adapters.limits import LocalLimits, SharedLimits
from service.adapters.limits_database import DatabaseLimits
from service.adapters.limits_redis import RedisLimits
from service.domain.errors import LimitsAway
from service.domain.ports import LimitStore, Standing
from service.settings import Settings
from service.storage import LimitLease, LimitWindow
from service.storage.engine import create_engine


class Seconds:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


@pytest.fixture
def subject() -> str:
    """A subject of the test's own: Redis is shared."""
    return f"test:{uuid.uuid4()}"


@pytest.fixture(params=["local", "sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql), "redis"])
def store(
    request: pytest.FixtureRequest, seconds: Seconds, make_settings: Callable[..., Settings]
) -> Iterator[LimitStore]:
    if request.param == "local":
        yield LocalLimits(seconds)
    elif request.param == "redis":
        made = RedisLimits(request.getfixturevalue("redis_url"))
        yield made
        made.close()
    else:
        url = request.getfixturevalue(f"{request.param}_url")
        boot.prepare(make_settings(url))
        engine = create_engine(url, pool_size=20)
        yield DatabaseLimits(engine, seconds)
        engine.dispose()


def at_once(count: int, work: Callable[[], object]) -> list[object]:
    with ThreadPoolExecutor(16) as pool:
        return [future.result() for future in [pool.submit(work) for _ in range(count)]]


def test_as_many_pass_as_the_limit_says(store: LimitStore, subject: str) -> None:
    assert [store.hit(subject, 3, 60).allowed for _ in range(5)] == [True, True, True, False, False]


def test_the_rest_is_told(store: LimitStore, subject: str) -> None:
    assert [store.hit(subject, 2, 60).remaining for _ in range(3)] == [1, 0, 0]


def test_the_end_of_the_window_is_told(store: LimitStore, subject: str) -> None:
    assert 59 <= store.hit(subject, 2, 60).resets <= 60


def test_each_subject_has_its_own_window(store: LimitStore, subject: str) -> None:
    store.hit(subject, 1, 60)
    assert store.hit(f"{subject}:other", 1, 60).allowed


def test_exactly_the_limit_passes_when_all_come_at_once(store: LimitStore, subject: str) -> None:
    allowed = at_once(100, lambda: store.hit(subject, 37, 60).allowed)
    assert sum(map(bool, allowed)) == 37


def test_what_is_forgiven_can_be_had_again(store: LimitStore, subject: str) -> None:
    store.hit(subject, 1, 60)
    store.forgive(subject)
    assert store.hit(subject, 1, 60).allowed


def test_nothing_is_forgiven_twice(store: LimitStore, subject: str) -> None:
    store.hit(subject, 1, 60)
    store.forgive(subject)
    store.forgive(subject)
    assert [store.hit(subject, 1, 60).allowed for _ in range(2)] == [True, False]


def test_as_many_places_are_given_as_there_are(store: LimitStore, subject: str) -> None:
    assert [store.enter(subject, 2, 60) is not None for _ in range(3)] == [True, True, False]


def test_a_place_that_was_given_back_can_be_had_again(store: LimitStore, subject: str) -> None:
    token = store.enter(subject, 1, 60)
    store.leave(subject, str(token))
    assert store.enter(subject, 1, 60) is not None


def test_a_token_that_nobody_was_given_frees_no_place(store: LimitStore, subject: str) -> None:
    store.enter(subject, 1, 60)
    store.leave(subject, "0" * 32)
    assert store.enter(subject, 1, 60) is None


def test_no_place_is_given_twice_when_all_come_at_once(store: LimitStore, subject: str) -> None:
    tokens = at_once(40, lambda: store.enter(subject, 5, 60))
    assert len([token for token in tokens if token is not None]) == 5


def test_two_databases_clients_count_together(engine: Engine, seconds: Seconds, subject: str) -> None:
    stores = [DatabaseLimits(engine, seconds), DatabaseLimits(engine, seconds)]
    turns = iter(range(1000))
    allowed = at_once(60, lambda: stores[next(turns) % 2].hit(subject, 25, 60).allowed)
    assert sum(map(bool, allowed)) == 25


class TestTime:
    """What a clock does to windows and places; Redis has its own clock and is left out."""

    @pytest.fixture(params=["local", "sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
    def store(
        self, request: pytest.FixtureRequest, seconds: Seconds, make_settings: Callable[..., Settings]
    ) -> Iterator[LimitStore]:
        if request.param == "local":
            yield LocalLimits(seconds)
            return
        url = request.getfixturevalue(f"{request.param}_url")
        boot.prepare(make_settings(url))
        engine = create_engine(url)
        yield DatabaseLimits(engine, seconds)
        engine.dispose()

    def test_a_new_window_begins_when_the_old_one_is_over(self, store: LimitStore, seconds: Seconds) -> None:
        store.hit("a", 1, 60)
        seconds.now += 60
        assert store.hit("a", 1, 60).allowed

    def test_a_window_is_not_over_a_moment_too_early(self, store: LimitStore, seconds: Seconds) -> None:
        store.hit("a", 1, 60)
        seconds.now += 59.9
        assert not store.hit("a", 1, 60).allowed

    def test_somebody_whose_clock_is_a_little_behind_counts_in_the_same_window(
        self, store: LimitStore, seconds: Seconds
    ) -> None:
        store.hit("a", 1, 60)
        seconds.now -= 2
        assert not store.hit("a", 1, 60).allowed

    def test_somebody_whose_clock_is_a_little_behind_sees_the_places_that_are_taken(
        self, store: LimitStore, seconds: Seconds
    ) -> None:
        store.enter("a", 1, 60)
        seconds.now -= 2
        assert store.enter("a", 1, 60) is None

    def test_a_clock_that_goes_back_shuts_nobody_out(self, store: LimitStore, seconds: Seconds) -> None:
        store.hit("a", 1, 60)
        seconds.now -= 86_400
        assert store.hit("a", 1, 60).allowed

    def test_the_place_of_somebody_who_died_is_free_when_the_lease_ends(
        self, store: LimitStore, seconds: Seconds
    ) -> None:
        store.enter("a", 1, 60)
        seconds.now += 60
        assert store.enter("a", 1, 60) is not None

    def test_a_place_outlives_no_clock_that_goes_back(self, store: LimitStore, seconds: Seconds) -> None:
        store.enter("a", 1, 60)
        seconds.now -= 86_400
        assert store.enter("a", 1, 60) is not None


def test_what_is_long_over_is_swept_away(engine: Engine, seconds: Seconds, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits_database, "_SWEEP_EVERY", 2)
    store = DatabaseLimits(engine, seconds)
    store.hit("old", 1, 60)
    store.enter("old", 1, 60)
    seconds.now += 10_000
    store.hit("new", 1, 60)
    with Session(engine) as session:
        left = [session.scalar(select(func.count()).select_from(model)) for model in (LimitWindow, LimitLease)]
    assert left == [1, 0]


def test_the_memory_of_one_process_is_bounded(seconds: Seconds, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_MOST_SUBJECTS", 10)
    store = LocalLimits(seconds)
    for number in range(100):
        store.hit(f"address {number}", 1, 60)
    assert len(store._windows) == 10


@pytest.mark.postgresql
def test_counting_writes_nothing_to_the_disk_of_postgresql(
    postgresql_url: URL, make_settings: Callable[..., Settings]
) -> None:
    boot.prepare(make_settings(postgresql_url))
    engine = create_engine(postgresql_url)
    query = text("SELECT relname FROM pg_class WHERE relpersistence = 'u' AND relkind = 'r'")
    with engine.connect() as connection:
        assert set(connection.scalars(query)) >= {"limit_window", "limit_lease"}
    engine.dispose()


class Away:
    """A store that cannot be reached, and knows how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.is_asked, self.goes_on = threading.Event(), threading.Event()
        self.goes_on.set()

    def hit(self, *_: object) -> object:
        self.asked += 1
        if not self.goes_on.is_set():
            self.is_asked.set()
            self.goes_on.wait(30)
        raise LimitsAway

    enter = forgive = leave = hit

    def close(self) -> None:
        """Nothing."""


class Sometimes(LocalLimits):
    """A shared store that is away when a test says so."""

    is_away = False

    def hit(self, subject: str, most: int, seconds: int) -> Standing:
        self._look()
        return super().hit(subject, most, seconds)

    def leave(self, subject: str, token: str) -> None:
        self._look()
        super().leave(subject, token)

    def _look(self) -> None:
        if self.is_away:
            raise LimitsAway


class TestAway:
    """The operator's choice for a time without the shared store."""

    @pytest.fixture
    def away(self) -> Away:
        return Away()

    @pytest.fixture
    def shared(self, away: Away, seconds: Seconds) -> SharedLimits:
        return SharedLimits(away, LocalLimits(seconds), seconds)

    def test_local_counts_in_this_process(self, shared: SharedLimits) -> None:
        store = shared.of("local")
        assert [store.hit("a", 2, 60).allowed for _ in range(3)] == [True, True, False]

    def test_refuse_refuses(self, shared: SharedLimits) -> None:
        with pytest.raises(LimitsAway):
            shared.of("refuse").hit("a", 2, 60)

    def test_the_choice_is_made_for_each_limit(self, shared: SharedLimits) -> None:
        assert shared.of("local").enter("a", 1, 60)
        with pytest.raises(LimitsAway):
            shared.of("refuse").enter("a", 1, 60)

    def test_a_store_that_is_away_is_not_asked_at_every_request(self, shared: SharedLimits, away: Away) -> None:
        for _ in range(50):
            shared.of("local").hit("a", 100, 60)
        assert away.asked == 1

    def test_it_is_asked_again_after_a_moment(self, shared: SharedLimits, away: Away, seconds: Seconds) -> None:
        shared.of("local").hit("a", 100, 60)
        seconds.now += 3
        shared.of("local").hit("a", 100, 60)
        assert away.asked == 2

    def test_one_finds_out_whether_it_is_back_and_nobody_waits_beside(
        self, shared: SharedLimits, away: Away, seconds: Seconds
    ) -> None:
        store = shared.of("local")
        store.hit("a", 100, 60)
        seconds.now += 3
        away.goes_on.clear()
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(store.hit, "a", 100, 60)
            assert away.is_asked.wait(30)
            assert store.hit("a", 100, 60).allowed
            away.goes_on.set()
            assert waiting.result().allowed
        assert away.asked == 2

    def test_a_place_that_could_not_be_given_back_is_given_back_later(self, seconds: Seconds) -> None:
        store = Sometimes(seconds)
        shared = SharedLimits(store, LocalLimits(seconds), seconds).of("local")
        token = shared.enter("a", 1, 600)
        store.is_away = True
        shared.leave("a", str(token))
        store.is_away = False
        seconds.now += 3
        shared.hit("b", 1, 60)
        assert shared.enter("a", 1, 600)

    def test_a_redis_that_is_not_there_is_away(self) -> None:
        store = RedisLimits("redis://127.0.0.1:1/0")
        with pytest.raises(LimitsAway):
            store.hit("a", 1, 60)
        with pytest.raises(LimitsAway):
            store.leave("a", "token")
        store.close()

    def test_a_database_that_is_not_there_is_away(self) -> None:
        engine = create_engine(URL.create("postgresql+psycopg", host="127.0.0.1", port=1, database="none"))
        with pytest.raises(LimitsAway):
            DatabaseLimits(engine).hit("a", 1, 60)
        engine.dispose()


def test_a_local_place_is_counted_by_threads_exactly(seconds: Seconds) -> None:
    store, barrier = LocalLimits(seconds), threading.Barrier(8)

    def work() -> bool:
        barrier.wait()
        return store.enter("a", 3, 60) is not None

    with ThreadPoolExecutor(8) as pool:
        assert sum(future.result() for future in [pool.submit(work) for _ in range(8)]) == 3


@pytest.mark.postgresql
def test_hosts_whose_clocks_differ_count_in_one_window(
    postgresql_url: URL, make_settings: Callable[..., Settings], subject: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    boot.prepare(make_settings(postgresql_url))
    engine = create_engine(postgresql_url)
    store = DatabaseLimits(engine)
    allowed = []
    for ahead in (0, 3600, -3600, 0):
        monkeypatch.setattr("service.storage.clock.time", lambda ahead=ahead: time() + ahead)
        allowed.append(store.hit(subject, 2, 60).allowed)
        allowed.append(store.enter(subject, 2, 60) is not None)
    assert allowed == [True, True, True, True, False, False, False, False]
    engine.dispose()
