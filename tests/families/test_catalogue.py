"""The catalogue has every route, and each of its samples is a request that the server accepts."""

from __future__ import annotations

import pytest
from flask import Flask

from tests.families.routes import (
    ARGUMENTS,
    FACTORIES,
    HERE,
    ROUTES,
    SAMPLES,
    Owner,
    Route,
    arguments_of,
    name_of,
    places_of,
    routes_of,
)


def test_every_route_has_a_sample(lasting: Flask) -> None:
    missing = sorted(map(name_of, routes_of(lasting) - set(SAMPLES)))
    assert missing == [], f"add one line for each to SAMPLES in {HERE}"


def test_every_sample_has_a_route(lasting: Flask) -> None:
    stale = sorted(map(name_of, set(SAMPLES) - routes_of(lasting)))
    assert stale == [], f"take these out of SAMPLES in {HERE}"


def test_every_name_in_a_path_stands_for_a_thing(lasting: Flask) -> None:
    missing = sorted(arguments_of(lasting) - set(ARGUMENTS))
    assert missing == [], f"add one line for each to ARGUMENTS in {HERE}, and what it stands for to FACTORIES"


@pytest.mark.parametrize("route", ROUTES, ids=name_of)
def test_every_thing_of_a_sample_can_be_made(lasting: Flask, route: Route) -> None:
    missing = sorted(set(places_of(lasting, route).values()) - set(FACTORIES))
    assert missing == [], f"add one line for each to FACTORIES in {HERE}"


@pytest.mark.parametrize("route", ROUTES, ids=name_of)
def test_a_sample_is_accepted(lasting: Flask, route: Route) -> None:
    owner, sample = Owner(lasting, is_superuser=SAMPLES[route].by_superuser), SAMPLES[route]
    answer = owner.send(route)
    accepted = answer.status_code == sample.status if sample.status else answer.status_code < 400
    assert accepted, f"{answer.status_code} {answer.get_data(as_text=True)}: correct the line in SAMPLES of {HERE}"
