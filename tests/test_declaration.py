"""The bootstrap file: what it declares is there after every start, and nothing in it is a secret."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import URL
from sqlalchemy.orm import Session

from service.boot import BootError
from service.domain import key_text
from service.storage import Variable
from tests.conftest import SUPERUSER
from tests.support import flows
from tests.support.client import Api

KEY = key_text.generate()
FULL = f"""
[[users]]
username = "ci"
password = "env:CI_PASSWORD"

[[flows]]
user = "ci"
folder = "flows"

[[variables]]
user = "ci"
name = "OPENAI_API_KEY"
value = "env:MODEL_KEY"

[[keys]]
user = "ci"
name = "pipeline"
digest = "sha256:{key_text.digest(KEY)}"
scopes = ["run", "read"]
flows = ["declared"]
rate = "100/60"
expires_at = 2999-01-01
"""
ENVIRONMENT = {"CI_PASSWORD": "ci-password", "MODEL_KEY": "model-key"}


@pytest.fixture
def start(make_app: Callable[..., Flask], database_url: URL, tmp_path: Path) -> Callable[..., Flask]:
    """Start a server with a bootstrap file."""
    (tmp_path / "flows").mkdir()
    exported = {"name": "declared", "endpoint_name": "declared", "data": flows.echo()}
    (tmp_path / "flows" / "declared.json").write_text(json.dumps(exported))

    def make(text: str = FULL, environment: dict[str, str] = ENVIRONMENT) -> Flask:
        file = tmp_path / "bootstrap.toml"
        file.write_text(text)
        return make_app(database_url, bootstrap_file=file, bootstrap_environment=environment)

    return make


def events(app: Flask) -> list[dict[str, Any]]:
    found = Api.of_superuser(app).get("/audit/?limit=1000").json["events"]
    return [event for event in found if event["via"] == "boot" and event["action"] != "server.started"]


def test_the_key_runs_the_flow_without_anybody_signing_in(start: Callable[..., Flask]) -> None:
    key = Api(start(), KEY, "")
    assert key.post("/run/declared", json={"input_value": "x"}).status_code == 200
    assert key.get("/variables/").status_code == 403


def test_the_user_signs_in_with_the_declared_password(start: Callable[..., Flask]) -> None:
    assert Api.signed_in(start(), "ci", "ci-password").get("/users/whoami").json["username"] == "ci"


def test_a_second_start_changes_nothing(start: Callable[..., Flask]) -> None:
    before = events(start())
    assert events(start()) == before


def test_pods_that_start_one_after_the_other_are_alike(start: Callable[..., Flask]) -> None:
    apps = [start() for _ in range(3)]
    assert {Api(app, KEY, "").post("/run/declared", json={}).status_code for app in apps} == {200}


def test_rights_follow_the_file(start: Callable[..., Flask]) -> None:
    start()
    app = start(FULL.replace('scopes = ["run", "read"]', 'scopes = ["read"]'))
    assert Api(app, KEY, "").post("/run/declared", json={}).status_code == 403


def test_a_variable_follows_its_source_until_somebody_sets_it(start: Callable[..., Flask]) -> None:
    app = start()
    assert value(start(FULL, ENVIRONMENT | {"MODEL_KEY": "newer"})) == "newer"
    ci = Api.signed_in(app, "ci", "ci-password")
    variable = ci.get("/variables/").json[0]["id"]
    ci.patch(f"/variables/{variable}", json={"id": variable, "value": "by hand"})
    assert value(start(FULL, ENVIRONMENT | {"MODEL_KEY": "newest"})) == "by hand"


def value(app: Flask) -> str:
    own = app.extensions["keyturn"]
    with Session(own.engine) as session:
        return str(own.vault.decrypt(session.query(Variable).filter_by(name="OPENAI_API_KEY").one().ciphertext))


def test_a_password_that_was_changed_stays(start: Callable[..., Flask]) -> None:
    app = start()
    chief = Api.of_superuser(app)
    user = chief.get("/users/?search=ci").json["users"][0]["id"]
    chief.patch(f"/users/{user}", json={"password": "changed-since"})
    assert Api.signed_in(start(), "ci", "changed-since")


def test_a_graph_that_changed_in_the_folder_is_brought_up_to_date(
    start: Callable[..., Flask], tmp_path: Path
) -> None:
    start()
    exported = {"name": "declared", "endpoint_name": "declared", "data": flows.prompt_chain(1)}
    (tmp_path / "flows" / "declared.json").write_text(json.dumps(exported))
    answer = Api(start(), KEY, "").post("/run/declared", json={"input_value": "x"})
    assert answer.json["outputs"][0]["outputs"][0]["results"]["message"]["text"] == "x."


def test_a_secret_may_come_from_a_file(start: Callable[..., Flask], tmp_path: Path) -> None:
    (tmp_path / "password").write_text("from-a-file\n")
    app = start(f'[[users]]\nusername = "ci"\npassword = "file:{tmp_path / "password"}"\n')
    assert Api.signed_in(app, "ci", "from-a-file")


def test_a_key_may_be_named_by_where_it_is(start: Callable[..., Flask]) -> None:
    text = f'[[keys]]\nuser = "{SUPERUSER}"\nkey = "env:A_KEY"\n'
    assert Api(start(text, {"A_KEY": KEY}), KEY, "").get("/users/whoami").status_code == 200


USER = f'user = "{SUPERUSER}"\n'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("users = ", "is not TOML"),
        ("[[user]]\n", "has no section user"),
        ("[users]\n", "two brackets"),
        ('[[users]]\npassword = "env:CI_PASSWORD"\n', "[[users]] number 1 needs username"),
        ('[[users]]\nusername = "x"\n', "needs password"),
        ('[[users]]\nusername = "x"\npassword = "in clear"\n', "is given in clear"),
        ('[[users]]\nusername = "x"\npassword = "env:NOWHERE"\n', "names env:NOWHERE, which is not set"),
        ('[[users]]\nusername = "x"\npassword = "file:/nowhere"\n', "names file:/nowhere, which cannot be read"),
        ('[[users]]\nusername = "x"\npassword = "env:CI_PASSWORD"\nadmin = true\n', "has no field admin"),
        ('[[users]]\nusername = ""\npassword = "env:CI_PASSWORD"\n', "at least 1 character"),
        ('[[users]]\nusername = 7\npassword = "env:CI_PASSWORD"\n', "username must be a str"),
        (f'[[flows]]\n{USER}folder = "nowhere"\n', "there is no folder"),
        ('[[flows]]\nuser = "nobody"\nfolder = "flows"\n', "there is no user nobody"),
        (f'[[variables]]\n{USER}name = "X"\nvalue = "in clear"\n', "is given in clear"),
        (f"[[keys]]\n{USER}", "needs either digest"),
        (f'[[keys]]\n{USER}digest = "abc"\n', "digest is written as"),
        (f'[[keys]]\n{USER}key = "env:CI_PASSWORD"\n', "is not an API key"),
        (f'[[keys]]\n{USER}digest = "sha256:{"0" * 64}"\nflows = ["none"]\n', "has no flow none"),
        (f'[[keys]]\n{USER}digest = "sha256:{"0" * 64}"\nscopes = ["all"]\n', "Input should be"),
        (f'[[keys]]\n{USER}digest = "sha256:{"0" * 64}"\nrate = "many"\n', "rate is written as"),
        (f'[[keys]]\n{USER}digest = "sha256:{"0" * 64}"\nexpires_at = 2001-01-01\n', "in the past"),
        (f'[[keys]]\n{USER}digest = "sha256:{"0" * 64}"\nexpires_at = 9999-12-31T23:59:59-14:00\n', "the last day"),
        (f'[[keys]]\n{USER}digest = "sha256:{"0" * 64}"\nscopes = "run"\n', "scopes must be a list"),
    ],
)
def test_a_mistake_stops_the_start_with_one_line_that_names_it(
    start: Callable[..., Flask], text: str, says: str
) -> None:
    with pytest.raises(BootError) as caught:
        start(text)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert 'in clear"' not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("data", 5, "data: Input should be a valid dictionary"),
        ("data", {"nodes": []}, "data: Value error, Flow must have edges"),
        ("endpoint_name", 5, "endpoint_name: Input should be a valid string"),
        ("endpoint_name", "a b", "endpoint_name: Value error"),
        ("description", ["a"], "description: Input should be a valid string"),
        ("description", "a\x00", "description: Input should be a valid string"),
        ("icon", "a" * 256, "icon: String should have at most 255 characters"),
        ("icon", "\ud800", "icon: Input should be a valid string"),
        ("tags", [1], "tags: Input should be a valid string"),
        ("tags", "a", "tags: Input should be a valid list"),
        ("locked", "yes", "locked: Input should be a valid boolean"),
        ("name", " ", "name: String should have at least 1 character"),
    ],
)
@pytest.mark.parametrize("name", ["declared", "new"])
def test_a_flow_that_no_database_should_hold_stops_the_start_with_its_file_and_its_field(
    start: Callable[..., Flask], tmp_path: Path, name: str, field: str, value: object, says: str
) -> None:
    start()
    exported = {"name": name, "data": flows.echo(), field: value}
    (tmp_path / "flows" / "declared.json").write_text(json.dumps(exported))
    with pytest.raises(BootError) as caught:
        start()
    assert f"declared.json: {says}" in str(caught.value)


def test_exports_without_an_endpoint_name_are_flows_of_their_own(start: Callable[..., Flask], tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / "flows" / f"{name}.json").write_text(json.dumps({"name": name, "data": flows.echo()}))
    start()
    ci = Api.signed_in(start(), "ci", "ci-password")
    assert {flow["name"] for flow in ci.get("/flows/").json} == {"declared", "first", "second"}


def test_an_id_that_is_another_users_flow_stops_the_start(start: Callable[..., Flask], tmp_path: Path) -> None:
    taken = Api.of_superuser(start()).post("/flows/", json={"name": "taken", "data": flows.echo()}).json["id"]
    (tmp_path / "flows" / "declared.json").write_text(json.dumps({"name": "new", "id": taken, "data": flows.echo()}))
    with pytest.raises(BootError, match=r"declared\.json: another user has a flow with this id"):
        start()


class TestLoadFlowsPath:
    """``LANGFLOW_LOAD_FLOWS_PATH``: a folder of exported flows that become the superuser's."""

    ID = "4f1f0f3e-8a4b-4a8e-9a54-2f0a55a2b5c1"

    @pytest.fixture
    def load(self, make_app: Callable[..., Flask], database_url: URL, tmp_path: Path) -> Callable[..., Api]:
        """Write an export, start a server, and return its superuser."""

        def make(stem: str = "shipped", *, overwrite: bool = False, **exported: Any) -> Api:
            (tmp_path / f"{stem}.json").write_text(json.dumps({"name": "shipped", "data": flows.echo()} | exported))
            return Api.of_superuser(
                make_app(database_url, load_flows_path=tmp_path, load_flows_overwrite_on_name_match=overwrite)
            )

        return make

    def test_its_flows_run_at_once(self, load: Callable[..., Api]) -> None:
        assert load(endpoint_name="ship").post("/run/ship", json={"input_value": "x"}).status_code == 200

    def test_a_file_named_by_a_uuid_says_the_flows_id(self, load: Callable[..., Api]) -> None:
        assert load(self.ID, id=str(uuid.uuid4())).get(f"/flows/{self.ID}").json["name"] == "shipped"

    @pytest.mark.parametrize("known", [{"id": ID}, {"endpoint_name": "ship"}], ids=str)
    def test_a_flow_is_known_by_its_id_or_endpoint_name_and_brought_up_to_date(
        self, load: Callable[..., Api], known: dict[str, str]
    ) -> None:
        load(**known)
        found = load(**known, name="renamed").get("/flows/").json
        assert [flow["name"] for flow in found] == ["renamed"]

    @pytest.mark.parametrize(("overwrite", "description"), [(False, "first"), (True, "second")])
    def test_a_flow_known_by_its_name_alone_stays_unless_it_may_be_overwritten(
        self, load: Callable[..., Api], overwrite: bool, description: str
    ) -> None:
        load(id=self.ID, description="first")
        found = load(id=str(uuid.uuid4()), description="second", overwrite=overwrite).get("/flows/").json
        assert [(flow["id"], flow["description"]) for flow in found] == [(self.ID, description)]

    @pytest.mark.parametrize(
        ("exported", "says"),
        [
            ({"name": 5}, "shipped.json is not an exported flow: it has no name"),
            ({"data": {"nodes": []}}, "shipped.json: data: Value error, Flow must have edges"),
        ],
        ids=str,
    )
    def test_a_file_that_is_no_flow_stops_the_start_with_one_line_that_names_it(
        self, load: Callable[..., Api], tmp_path: Path, exported: dict[str, Any], says: str
    ) -> None:
        with pytest.raises(BootError) as caught:
            load(**exported)
        assert str(caught.value) == f"LANGFLOW_LOAD_FLOWS_PATH {tmp_path}: {says}"

    def test_a_folder_that_is_not_there_stops_the_start(
        self, make_app: Callable[..., Flask], sqlite_url: URL, tmp_path: Path
    ) -> None:
        with pytest.raises(BootError, match="there is no folder"):
            make_app(sqlite_url, load_flows_path=tmp_path / "none")

    def test_a_superuser_that_is_not_there_stops_the_start(
        self, load: Callable[..., Api], make_app: Callable[..., Flask], database_url: URL, tmp_path: Path
    ) -> None:
        load()
        with pytest.raises(BootError, match="are for nobody, who is no superuser here"):
            make_app(database_url, load_flows_path=tmp_path, superuser="nobody")


def test_a_key_of_somebody_else_is_not_taken_over(start: Callable[..., Flask]) -> None:
    start()
    with pytest.raises(BootError, match="belongs to another user"):
        start(f'[[keys]]\n{USER}name = "mine"\ndigest = "sha256:{key_text.digest(KEY)}"\n')


def test_a_file_that_is_not_there_stops_the_start(
    make_app: Callable[..., Flask], sqlite_url: URL, tmp_path: Path
) -> None:
    with pytest.raises(BootError, match="cannot be read"):
        make_app(sqlite_url, bootstrap_file=tmp_path / "none.toml")
