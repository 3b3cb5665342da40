"""Every route x two users, under every policy: somebody else's id is answered like one that never existed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from service.domain.policy import Kind
from service.storage import User
from tests.conftest import SUPERUSER, MakeApp
from tests.families.routes import (
    CLOSED,
    OPEN_TO_STRANGERS,
    ROUTES,
    SAMPLES,
    Owner,
    Route,
    call_of,
    forms_of,
    ghost,
    is_id,
    kind_of,
    name_of,
    places_of,
)
from tests.families.rows import POINTERS, added, changes, dump, without

VERSIONS = ("1.4.3", "1.13.0", "2.0.0")
CONFIGURATIONS = list(product(VERSIONS, (False, True), (False, True)))

#: Places where another user's id is answered differently from a missing one, and how: (theirs, missing). A PUT makes
#: the flow of an id that is free; an id is random, so that nobody finds another user's by trying.
TELLS_APART = {
    (("PUT", "flows.put"), "path.flow_id"): (404, {201}),
    (("PUT", "projects.put"), "path.project_id"): (404, {200, 201}),
    (("PUT", "projects.put"), "everywhere"): (404, {200, 201}),
}
#: What a superuser may do to others.
ADMINISTRATION = {("GET", "users.get"), ("PATCH", "users.update"), ("DELETE", "users.delete")}
#: Pages have nobody who passes without a credential.
PAGES = {route for route in ROUTES if kind_of(route).is_page}

#: Other things that may be tried where one is called for.
OTHER_NAMES = {"flow": ("flow", "endpoint", "session"), "session": ("session", "flow")}

#: Status, and headers and body without what no two answers share.
Answer = tuple[int, str]

#: Headers that no two answers need to share.
OF_THE_MOMENT = {"Content-Length", "Date", "X-Request-ID"}
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_SECRET = re.compile(r"(sk-|kta_|ktr_)[\w-]{8,}")
_OF_OPENAI = re.compile(r"\b(resp|msg|chatcmpl)[_-][0-9a-f]{32}|\"created(_at)?\": ?\d+")
_NAME = re.compile(r"m[0-9a-f]{16}(-[0-9a-f]{8})?|n[0-9a-f]{32}")
_TIME = re.compile(
    r"Expires=[^;]+|\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|\+00:00| UTC)?|\d{8}_\d{6}|\"seconds\": [\d.]+"
    r"|>\d+\.\d{3}<"
)

#: Everything that might be a filter: the columns that point to another table, and the names in the paths.
FILTERS = {
    "flow_id": "flow", "folder_id": "project", "project_id": "project", "parent_id": "project", "user_id": "user",
    "owner_id": "user", "username": "username", "search": "username", "session_id": "session", "key_id": "key",
    "api_key_id": "key", "variable_id": "variable", "message_id": "message", "file_id": "file", "job_id": "job",
    "cursor": "job",
    "endpoint_name": "endpoint",
}  # fmt: skip


class World:
    """An application of one policy: two victims with one of everything, and three who act."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.victim, self.chief = Owner(app), Owner(app, is_superuser=True)
        self.attacker, self.ruler = Owner(app), Owner(app, is_superuser=True)
        self.theirs = {owner: owner.all_things() for owner in (self.victim, self.chief)}
        with Session(app.extensions["keyturn"].engine) as session:
            # As whom a request without a credential passes, where one does.
            nobody = session.scalars(select(User.id).where(User.username == SUPERUSER)).one()
        self.actors = [self.attacker.user_id, self.ruler.user_id, str(nobody)]
        self.at_first = without(dump(app), *self.actors)

    def stranger(self) -> Owner:
        """One more who acts."""
        made = Owner(self.app)
        self.actors.append(made.user_id)
        return made

    def touched(self) -> set[str]:
        """What changed of anybody who does not act here, and what is new and points to their things."""
        after = dump(self.app)
        moved = changes(self.at_first, after)
        moved |= {f"new row in {table}" for table, _ in added(self.at_first, without(after, *self.actors))}
        ids = {value for things in self.theirs.values() for value in things.values()}
        for table, row in added(self.at_first, after):
            moved |= {f"new {table}.{name}" for name in POINTERS[table] if str(row[name]) in ids}
        if moved:
            self.at_first = without(after, *self.actors)  # so that only the route that did it fails
        return moved


@pytest.fixture(scope="module")
def world(request: pytest.FixtureRequest, make_lasting: MakeApp) -> Iterator[World]:
    if request.param == "postgresql":
        app = make_lasting(request.getfixturevalue("lasting_postgresql_url"), track_key_usage=False)
    else:
        version, auto_login, skip = request.param
        app = make_lasting(
            langflow_version=version, auto_login=auto_login, skip_auth_auto_login=skip, track_key_usage=False
        )
    yield World(app)
    app.extensions["keyturn"].close()


def policy_name(configuration: tuple[str, bool, bool] | str) -> str:
    if isinstance(configuration, str):
        return configuration
    version, auto_login, skip = configuration
    return version + "-auto_login" * auto_login + "-skip" * skip


ON_POSTGRESQL = pytest.param("postgresql", marks=pytest.mark.postgresql, id="postgresql")
OPEN = [("1.4.3", True, True), ("1.4.3", True, False), ("1.4.3", False, True), ("1.13.0", True, True)]
USUAL = ("1.13.0", False, False)


def under(*configurations: object) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("world", configurations, indirect=True, ids=policy_name)


everywhere = under(*CONFIGURATIONS, ON_POSTGRESQL)
as_usual = under(USUAL)
on_both_databases = under(USUAL, ON_POSTGRESQL)
where_nobody_passes = under(*OPEN)

OF_SUPERUSERS = [route for route in ROUTES if kind_of(route) is Kind.SUPERUSER or SAMPLES[route].by_superuser]
READING = [route for route in ROUTES if route[0] == "GET" and route not in OF_SUPERUSERS]
OF_USERS = [
    *(route for route in CLOSED if kind_of(route) not in {Kind.SUPERUSER, Kind.ADMIN_PAGE}),
    *OPEN_TO_STRANGERS,
]
FORMS = range(1, len(list(forms_of("0"))))


def of_routes(routes: list[Route]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("route", routes, ids=name_of)


class Matrix:
    """Sends one route with somebody's things, and with things that never existed.

    Args:
        caller: None for nobody in particular.
    """

    def __init__(self, world: World, route: Route, caller: Owner | None, owner: Owner) -> None:
        self.world, self.route, self.caller = world, route, caller
        self.things = (world.theirs[owner], ghost(world.theirs[owner]))
        if caller and "x-api-key" not in caller.credential(route):
            caller.sign_in()
        self.headers = caller.credential(route) if caller else {}

    def everywhere(self, form: int = 0) -> list[Answer]:
        """Somebody else's things at every place."""
        return self._both(lambda things: lambda place, thing: spelled(things[thing], form))

    def at(self, foreign: str, thing: str, own: Owner) -> list[Answer]:
        """Somebody else's thing at one place, and one's own at the others."""
        return self._both(lambda things: lambda place, usual: things[thing] if place == foreign else own[usual], own)

    def filtered(self, name: str, thing: str, own: Owner) -> list[Answer]:
        """One's own things at every place, and one more parameter in the query."""
        return self._both(lambda things: own.choose, more=lambda things: {name: things[thing]})

    def _both(self, chooses: Any, own: Owner | None = None, more: Any = None) -> list[Answer]:
        answers = []
        for things in self.things:
            call = call_of(self.world.app, self.route, chooses(things))
            call.query |= more(things) if more else {}
            headers = own.credential(self.route) if own else self.headers
            answers.append(normal(call.send(self.world.app, headers), things, own.things if own else {}))
            if own is not None and self.route[0] != "GET":
                own.renew()
        return answers


def normal(answer: TestResponse, *own: dict[str, str]) -> Answer:
    """An answer without the ids and times that no two answers share."""
    headers = "\n".join(f"{name}: {value}" for name, value in answer.headers if name not in OF_THE_MOMENT)
    text = f"{headers}\n{answer.get_data().decode('utf-8', 'replace')}"
    text = _SECRET.sub("<secret>", text)
    spellings = {form for things in own for value in things.values() for form in forms_of(value)}
    for spelling in sorted(spellings, key=len, reverse=True):
        text = text.replace(spelling, "<thing>")
    text = _OF_OPENAI.sub("<made>", text)
    return answer.status_code, _NAME.sub("<name>", _TIME.sub("<time>", _UUID.sub("<id>", text)))


def spelled(value: str, form: int) -> str:
    """The value in its n-th spelling."""
    return list(forms_of(value))[form] if is_id(value) else value


def check(answers: list[Answer]) -> None:
    theirs, missing = answers
    assert max(theirs[0], missing[0]) < 500
    assert theirs == missing


def check_at(matrix: Matrix, place: str, answers: list[Answer]) -> None:
    """As ``check``, but for ``TELLS_APART``; of those routes only the status, with others' things everywhere."""
    route = matrix.route
    if not places_of(matrix.world.app, route):
        return  # it names nothing: what counts is that nobody's rows change
    statuses = TELLS_APART.get((route, place))
    if statuses is not None:
        assert answers[0][0] == statuses[0]
        assert answers[1][0] in statuses[1]
    elif place == "everywhere" and route in {apart for apart, _ in TELLS_APART}:
        assert answers[0][0] == answers[1][0] >= 400
    else:
        check(answers)


@everywhere
@of_routes(OF_USERS)
def test_somebody_elses_id_is_answered_like_one_that_never_existed(world: World, route: Route) -> None:
    matrix = Matrix(world, route, world.attacker, world.victim)
    check_at(matrix, "everywhere", matrix.everywhere())
    assert world.touched() == set()


@on_both_databases
@of_routes(OF_USERS)
def test_a_superusers_id_is_answered_like_one_that_never_existed(world: World, route: Route) -> None:
    matrix = Matrix(world, route, world.attacker, world.chief)
    check_at(matrix, "everywhere", matrix.everywhere())
    assert world.touched() == set()


@on_both_databases
@of_routes(OF_USERS)
def test_no_spelling_of_somebody_elses_id_is_answered_otherwise(world: World, route: Route) -> None:
    matrix = Matrix(world, route, world.attacker, world.victim)
    for form in FORMS if places_of(world.app, route) else ():
        check_at(matrix, "everywhere", matrix.everywhere(form))
    assert world.touched() == set()


@on_both_databases
@of_routes(OF_USERS)
def test_somebody_elses_id_among_ones_own_is_answered_like_one_that_never_existed(world: World, route: Route) -> None:
    matrix = Matrix(world, route, world.attacker, world.victim)
    for place, thing in places_of(world.app, route).items():
        for other in OTHER_NAMES.get(thing, (thing,)):
            # Somebody new each time: the tests before have moved the attacker's messages to sessions of any name.
            check_at(matrix, place if other == thing else "", matrix.at(place, other, world.stranger()))
    assert world.touched() == set()


@on_both_databases
@of_routes([route for route in OF_USERS if route not in ADMINISTRATION])
def test_a_superuser_reaches_nothing_of_others_but_their_accounts(world: World, route: Route) -> None:
    matrix = Matrix(world, route, world.ruler, world.victim)
    check_at(matrix, "everywhere", matrix.everywhere())
    assert world.touched() == set()


@where_nobody_passes
@of_routes([route for route in OF_USERS if route not in ADMINISTRATION])
def test_whoever_passes_without_a_credential_reaches_nothing_of_a_user(world: World, route: Route) -> None:
    matrix = Matrix(world, route, None, world.victim)
    check_at(matrix, "everywhere", matrix.everywhere())
    assert world.touched() == set()


@everywhere
@of_routes(READING)
def test_a_list_shows_nothing_of_somebody_else(world: World, route: Route) -> None:
    world.attacker.sign_in()
    shown = world.attacker.send(route).get_data().decode("utf-8", "replace")
    assert {name for name, value in world.theirs[world.victim].items() if value in shown} == set()
    assert world.victim.mark not in shown


@as_usual
@of_routes(READING)
def test_no_filter_of_a_list_finds_somebody_elses_things(world: World, route: Route) -> None:
    matrix = Matrix(world, route, world.attacker, world.victim)
    for name, thing in FILTERS.items():
        check(matrix.filtered(name, thing, world.attacker))


@everywhere
@of_routes(OF_SUPERUSERS)
def test_an_ordinary_user_is_refused_where_a_superuser_is_needed(world: World, route: Route) -> None:
    answers = Matrix(world, route, world.attacker, world.victim).everywhere()
    check(answers)
    assert answers[0][0] == 403
    assert world.touched() == set()
