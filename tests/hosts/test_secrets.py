"""A new secret is given to one host after the other, and none of them stops meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from flask import Flask
from sqlalchemy import URL

from tests.conftest import SECRET
from tests.http.api.test_runs import CREDENTIAL, model_flow, store, text_of, with_credential
from tests.support.client import Api
from tests.support.provider import Provider, serving

NEW = "another-secret-0123456789-0123456789"


@pytest.fixture
def provider() -> Iterator[Provider]:
    with serving() as made:
        yield made


def test_hosts_in_the_middle_of_a_change_of_secret_read_what_each_other_wrote(
    make_app: Callable[..., Flask], sqlite_url: URL, provider: Provider
) -> None:
    told = make_app(sqlite_url, previous_secret_keys=(NEW,), openai_base_url=provider.url)
    changed = make_app(sqlite_url, secret_key=NEW, previous_secret_keys=(SECRET,), openai_base_url=provider.url)
    make_app(sqlite_url, previous_secret_keys=(NEW,))  # a host that is not changed yet starts again
    for writer, reader in ((told, changed), (changed, told)):
        here = Api.of_superuser(writer)
        for variable in here.get("/variables/").json:
            here.delete(f"/variables/{variable['id']}")
        with_credential(here)
        name = f"flow-{writer is told}".lower()
        store(here, model_flow(), name)
        there = Api.of_superuser(reader)
        assert text_of(there.post(f"/run/{name}", json={"input_value": "hi"})) == "You said: hi"
        assert provider.last.headers["authorization"] == f"Bearer {CREDENTIAL}"
