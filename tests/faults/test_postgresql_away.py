"""PostgreSQL stops and starts again while a server works with it: once as in a crash, once as an operator would."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from tests.faults.conftest import serving
from tests.faults.making import Maker
from tests.support.crowd import Answer, crowd
from tests.support.services import OwnPostgreSQL
from tests.support.waiting import until

pytestmark = pytest.mark.postgresql


@dataclass
class Story:
    """What was seen before, while, and after the database was away."""

    cluster: OwnPostgreSQL
    answers: list[Answer] = field(default_factory=list)
    #: Answers to a key of which nothing else is asked than who it is.
    of_one_key: list[Answer] = field(default_factory=list)
    health: Answer | None = None
    ready: list[Answer] = field(default_factory=list)
    workers: list[list[int]] = field(default_factory=list)
    made: Maker | None = None
    log: str = ""

    @property
    def refused(self) -> list[Answer]:
        return [answer for answer in self.answers if answer.status >= 400]


@pytest.fixture(scope="module", params=["immediate", "fast"])
def story(request: pytest.FixtureRequest, cluster: OwnPostgreSQL, tmp_path_factory: pytest.TempPathFactory) -> Story:
    told = Story(cluster)
    with serving(cluster.url, tmp_path_factory.mktemp("server")) as server:
        told.made = made = Maker(server, request.param)
        key = server.post("/api_key/", json={"name": f"counted {request.param}"}).body["api_key"]
        told.workers.append(sorted(server.process.workers))
        told.ready.append(server.get("/ready"))
        acts = [made.variable, made.key, made.user, made.message, lambda: server.get("/flows/")]
        with crowd(*acts) as busy, crowd(lambda: server.get("/users/whoami", key)) as asking:
            until(lambda: made.has_each(3), seconds=60)
            cluster.stop(request.param)
            seen = len(busy.answers)
            until(lambda: len(busy.answers) >= seen + 60, seconds=60)
            told.health = server.get("/health")
            told.ready.append(server.get("/ready"))
            cluster.start()
            until(lambda: server.get("/ready").status == 200, seconds=30)
            kept = made.count
            until(lambda: made.count >= kept + 6, seconds=60)
        told.workers.append(sorted(server.process.workers))
        told.answers, told.of_one_key = busy.answers, asking.answers
        made.look_again()
        server.process.stop()
        told.log = server.process.output
    return told


def test_every_answer_is_a_good_one_or_503(story: Story) -> None:
    assert {answer.status for answer in story.answers + story.of_one_key} <= {200, 201, 503}
    assert story.refused


def test_a_refusal_has_the_apis_shape_and_says_when_to_try_again(story: Story) -> None:
    assert {tuple(answer.body) for answer in story.refused} == {("detail",)}
    assert {answer.headers.get("retry-after") for answer in story.refused} == {"1"}


def test_the_process_is_healthy_and_not_ready_meanwhile(story: Story) -> None:
    assert story.health is not None
    assert (story.health.status, [answer.status for answer in story.ready]) == (200, [200, 503])


def test_no_worker_was_replaced(story: Story) -> None:
    assert story.workers[0] == story.workers[1]


def test_everything_that_was_acknowledged_is_there_and_works(story: Story) -> None:
    assert story.made is not None
    assert story.made.missing == []


def test_uses_are_counted_exactly_over_the_outage(story: Story, request: pytest.FixtureRequest) -> None:
    good = sum(answer.status == 200 for answer in story.of_one_key)
    name = f"counted {request.node.callspec.params['story']}"
    rows = story.cluster.ask(
        "SELECT sum(u.count) FROM key_usage u JOIN api_key k ON k.id = u.key_id "
        f"WHERE k.name = '{name}' AND u.status = 200"
    )
    assert rows == [(good,)]


def test_the_log_tells_of_the_outage_in_a_few_lines(story: Story) -> None:
    lines = [line for line in story.log.splitlines() if " ERROR " in line or " WARNING " in line]
    assert any("the database did not answer" in line for line in lines)
    assert "Traceback" not in story.log
    assert len(lines) < len(story.refused)
    assert len(lines) <= 20
