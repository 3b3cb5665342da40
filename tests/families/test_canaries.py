"""Canaries: every route is called with good and broken input, and no secret comes out but where it is meant to."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from service.domain import audit
from tests.conftest import SECRET, MakeApp
from tests.families.routes import (
    CREDENTIAL,
    NEW_PASSWORD,
    PASSWORD,
    ROUTES,
    SAMPLES,
    Owner,
    Route,
    call_of,
    name_of,
)
from tests.support.logs import Collector

#: Where a token can begin. Inside a ciphertext's base64 a prefix turns up by chance, once in some hundred walks.
BEGINS = r"(?:(?<![\w-])|(?<=%[0-9A-Fa-f]{2})|(?<=\\[nrt]))"
#: What no answer holds but those of ``SHOWN``: secrets by their form, so that one made on the way is seen too.
FORMS = {
    "a key": re.compile(BEGINS + r"sk-[\w-]{43,}"),
    "a login token": re.compile(BEGINS + r"kt[ar]_[\w-]{20,}"),
    "a password": re.compile(f"{PASSWORD}|{NEW_PASSWORD}"),
    "a credential's value": re.compile(CREDENTIAL),
    "the server's secret": re.compile(SECRET),
    "a hash": re.compile(r"\$argon2|\$2[aby]\$"),
    "a ciphertext": re.compile(r"kt1:|gAAAA"),
    "a digest": re.compile(r"\b[0-9a-f]{64}\b"),
}
TRACEBACK = re.compile(r"Traceback \(most recent|sqlalchemy\.|File \"/|SELECT |INSERT ")
#: What stands in the database: SQLAlchemy shows the rows that it reads, where somebody sets its logger to DEBUG.
STORED = {"a hash", "a ciphertext", "a digest"}
#: The answers that are made to show a secret. A run's refusal names the flow that was asked for.
SHOWN: dict[str, set[str]] = {
    "POST auth.login": {"a login token"},
    "POST auth.refresh": {"a login token"},
    "POST keys.create": {"a key"},
    "POST keys.rotate": {"a key"},
    "POST pages.create_key": {"a key"},
    "POST pages.rotate_key": {"a key"},
    "POST pages.sign_in": {"a login token"},
    "POST pages.change_password": {"a login token"},
}
#: A name in a form that was refused, and a chat: they show what was typed to whoever typed it.
ECHOES_ITS_FORM = {"POST pages.sign_in", "POST pages.say", "POST pages.stream"}
ECHOES_ITS_PATH = {"POST runs.run", "POST runs.advanced", "POST runs.webhook", "DELETE files.delete"}


@dataclass
class Walk:
    """What came out: the answers of each way to ask, by route, and the lines of the log."""

    answers: dict[str, dict[str, str]] = field(default_factory=dict)
    statuses: dict[tuple[str, str], int] = field(default_factory=dict)
    lines: dict[str, list[str]] = field(default_factory=dict)

    def note(self, way: str, route: Route, answer: TestResponse) -> None:
        text = f"{answer.status} {answer.headers} {answer.get_data().decode('utf-8', 'replace')}"
        self.answers.setdefault(name_of(route), {})[way] = text
        self.statuses[way, name_of(route)] = answer.status_code


@pytest.fixture(scope="module")
def walk(make_lasting: MakeApp, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walk]:
    log_file: Path = tmp_path_factory.mktemp("log") / "log"
    collector, root, own = Collector(), logging.getLogger(), logging.getLogger("service")
    # Before the application is made: SQLAlchemy asks once whether it shall log, and has a level of its own.
    loud = [root, logging.getLogger("sqlalchemy.engine"), logging.getLogger("sqlalchemy.pool")]
    former = [logger.level for logger in loud]
    for logger in loud:
        logger.setLevel(logging.DEBUG)
    app = make_lasting(log_level="debug", log_file=log_file, log_json=True)
    for logger in (root, own):
        logger.addHandler(collector)
    made = Walk()
    for route in ROUTES:
        start = len(collector.lines)
        for way, ask in WAYS.items():
            owner = Owner(app, is_superuser=SAMPLES[route].by_superuser)
            made.note(way, route, ask(app, owner, route))
        made.lines[name_of(route)] = collector.lines[start:]
    for logger, level in zip(loud, former, strict=True):
        logger.setLevel(level)
    root.removeHandler(collector)
    own.removeHandler(collector)
    made.lines["the file"] = log_file.read_text("utf-8").splitlines()
    made.lines["the audit trail"] = audit_trail(app)
    made.lines["the metrics"] = Owner(app, is_superuser=True).send(("GET", "metrics.read")).text.splitlines()
    yield made
    for handler in list(own.handlers):
        own.removeHandler(handler)
        handler.close()


def audit_trail(app: Flask) -> list[str]:
    with Session(app.extensions["keyturn"].engine) as session:
        return [json.dumps(audit.body_of(event)) for event in audit.export(session, audit.Filter())]


def good(app: Flask, owner: Owner, route: Route) -> TestResponse:
    return owner.send(route)


def of_wrong_types(app: Flask, owner: Owner, route: Route) -> TestResponse:
    """Each field holds the secret in a list."""
    call = owner.call(route)
    if isinstance(call.json, dict):
        call.json = {name: [CREDENTIAL, owner.key] for name in call.json}
    elif isinstance(call.json, list):
        call.json = [[CREDENTIAL, owner.key]]
    elif call.form is not None:
        call.form = dict.fromkeys(call.form, owner.key)
    if call.upload is not None:
        call.upload = (call.upload[0], json.dumps([CREDENTIAL, owner.key]).encode())
    return owner.send(route, call)


def of_no_json(app: Flask, owner: Owner, route: Route) -> TestResponse:
    """The body breaks off behind the secret."""
    call = owner.call(route)
    return app.test_client(use_cookies=False).open(
        call.path, method=call.method, data=f'{{"value": "{CREDENTIAL}", "api_key": "{owner.key}"',
        content_type="application/json", headers=call.headers | owner.credential(route), buffered=True,
    )  # fmt: skip


def with_the_key_in_the_path(app: Flask, owner: Owner, route: Route) -> TestResponse:
    """Somebody pasted the key where an id belongs."""
    call = call_of(app, route, lambda place, thing: owner.key if place.startswith("path") else owner[thing])
    return owner.send(route, call)


def with_the_key_in_the_query(app: Flask, owner: Owner, route: Route) -> TestResponse:
    call = owner.call(route)
    call.query["x-api-key"] = owner.key
    return call.send(app)


def with_bad_credentials(app: Flask, owner: Owner, route: Route) -> TestResponse:
    call = owner.call(route)
    return call.send(app, {"x-api-key": owner.key[:-1] + "-", "Authorization": f"Bearer {owner.tokens.refresh}"})


WAYS = {
    "good": good,
    "of wrong types": of_wrong_types,
    "of no JSON": of_no_json,
    "with the key in the path": with_the_key_in_the_path,
    "with the key in the query": with_the_key_in_the_query,
    "with bad credentials": with_bad_credentials,
}


@pytest.mark.parametrize("around", ["{}", "'{}'", "x-api-key={}", "%22{}%22", r'"line\n{}"'])
def test_a_key_is_seen_however_it_is_written(around: str) -> None:
    assert FORMS["a key"].search(around.format("sk-" + "a" * 43))


@pytest.mark.parametrize("route", ROUTES, ids=name_of)
def test_no_answer_holds_a_secret_that_it_is_not_made_for(walk: Walk, route: Route) -> None:
    found = {
        (way, secret)
        for way, text in walk.answers[name_of(route)].items()
        for secret, form in FORMS.items()
        if form.search(text) and secret not in SHOWN.get(name_of(route), set())
        and not (way == "with the key in the path" and name_of(route) in ECHOES_ITS_PATH)
        and not (way == "of wrong types" and name_of(route) in ECHOES_ITS_FORM)
    }  # fmt: skip
    assert found == set()


@pytest.mark.parametrize("route", ROUTES, ids=name_of)
def test_no_answer_holds_a_traceback_or_a_query(walk: Walk, route: Route) -> None:
    assert {way for way, text in walk.answers[name_of(route)].items() if TRACEBACK.search(text)} == set()


@pytest.mark.parametrize("route", ROUTES, ids=name_of)
def test_no_line_of_any_library_holds_a_secret_even_at_debug(walk: Walk, route: Route) -> None:
    found = {
        (secret, line.partition(" ")[0])
        for line in set(walk.lines[name_of(route)])
        for secret, form in FORMS.items()
        if form.search(line)
        and not (line.startswith("sqlalchemy.engine") and (secret in STORED or name_of(route) in ECHOES_ITS_FORM))
    }
    assert found == set()


@pytest.mark.parametrize("place", ["the file", "the audit trail", "the metrics"])
def test_no_line_that_is_kept_holds_a_secret(walk: Walk, place: str) -> None:
    assert walk.lines[place]
    assert {secret for line in walk.lines[place] for secret, form in FORMS.items() if form.search(line)} == set()


def test_each_line_of_the_log_file_is_an_object_of_its_own(walk: Walk) -> None:
    assert all(isinstance(json.loads(line), dict) for line in walk.lines["the file"])


@pytest.mark.parametrize("route", ROUTES, ids=name_of)
def test_no_broken_input_is_answered_with_a_failure_of_the_server(walk: Walk, route: Route) -> None:
    statuses = {way: walk.statuses[way, name_of(route)] for way in WAYS}
    assert {way: status for way, status in statuses.items() if status >= 500} == {}


def test_the_secrets_were_there_to_be_seen(walk: Walk) -> None:
    for name, secrets in SHOWN.items():
        assert all(FORMS[secret].search(walk.answers[name]["good"]) for secret in secrets)
    assert any(walk.lines.values())
