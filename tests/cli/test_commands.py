"""The commands for operators, on both databases, with secrets on standard input."""

from __future__ import annotations

import json
import socket
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from flask import Flask
from sqlalchemy import URL

from service import __version__
from service.cli import main
from service.settings import NEWEST_LANGFLOW
from service.storage.engine import create_engine
from tests.conftest import PASSWORD, SECRET, SUPERUSER
from tests.support import flows
from tests.support.client import Api

Command = Callable[..., Result]


@pytest.fixture
def keyturn(tmp_path: Path, database_url: URL, monkeypatch: pytest.MonkeyPatch, bare_environment: None) -> Command:
    """Run ``keyturn`` beside a server, with the lines of standard input."""
    monkeypatch.chdir(tmp_path)
    own = {
        "LANGFLOW_CONFIG_DIR": str(tmp_path),
        "LANGFLOW_DATABASE_URL": database_url.render_as_string(hide_password=False).replace("+psycopg", ""),
        "LANGFLOW_SUPERUSER": SUPERUSER,
        "LANGFLOW_SECRET_KEY": SECRET,
    }

    def call(*words: str, lines: tuple[str, ...] = (), **environment: str) -> Result:
        text = "".join(f"{line}\n" for line in lines)
        return CliRunner().invoke(main, words, input=text, env=own | environment)

    return call


@pytest.fixture
def command(keyturn: Command) -> Command:
    """The same; the first line is the superuser's password."""

    def call(*words: str, secret: str | None = None, **environment: str) -> Result:
        return keyturn(*words, lines=(PASSWORD, *([] if secret is None else [secret])), **environment)

    return call


@pytest.fixture
def api(make_app: Callable[..., Flask], database_url: URL) -> Api:
    """A server on the same database."""
    return Api.of_superuser(make_app(database_url))


def told(done: Result) -> Any:
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


class TestKeys:
    """``keyturn keys``."""

    def test_a_key_that_is_made_works_at_once_within_its_limits(self, api: Api, command: Command) -> None:
        made = told(command("keys", "create", "--name", "ci", "--scope", "read", "--rate", "100/60", "--json"))
        key = Api(api.app, made["api_key"], api.user_id)
        assert (key.get("/variables/").status_code, key.post("/variables/", json={}).status_code) == (200, 403)

    def test_a_key_for_one_flow_names_it_as_people_do(self, api: Api, command: Command) -> None:
        flow = api.post("/flows/", json={"name": "Answers", "data": flows.echo(), "endpoint_name": "answers"}).json
        made = told(command("keys", "create", "--flow", "answers", "--json"))
        shown = api.get(f"/api_key/{made['id']}").json
        assert shown["flows"] == [flow["id"]]

    def test_without_json_the_key_alone_is_printed(self, api: Api, command: Command) -> None:
        key = command("keys", "create").stdout.strip()
        assert Api(api.app, key, "").get("/users/whoami").status_code == 200

    def test_a_list_is_a_table_for_people_and_json_for_scripts(self, api: Api, command: Command) -> None:
        api.post("/api_key/", json={"name": "listed"})
        assert "listed" in command("keys", "list").stdout
        assert "listed" in {key["name"] for key in told(command("keys", "list", "--json"))}

    def test_a_key_is_found_by_its_first_characters_and_rotated(self, api: Api, command: Command) -> None:
        made = api.post("/api_key/", json={"name": "old"}).json["api_key"]
        fresh = command("keys", "rotate", made[:8], "--grace", "3600").stdout.strip()
        works = [Api(api.app, key, "").get("/users/whoami").status_code for key in (made, fresh)]
        assert works == [200, 200]

    def test_a_key_is_disabled_limited_and_revoked(self, api: Api, command: Command) -> None:
        made = api.post("/api_key/", json={"name": "doomed"}).json
        key = Api(api.app, made["api_key"], "")
        command("keys", "update", made["id"], "--disable")
        assert key.get("/users/whoami").status_code == 403
        command("keys", "update", made["id"], "--enable", "--network", "203.0.113.0/24")
        assert key.get("/users/whoami").status_code == 403
        command("keys", "update", made["id"], "--unlimited")
        assert key.get("/users/whoami").status_code == 200
        assert command("keys", "revoke", made["id"]).exit_code == 0
        assert key.get("/users/whoami").status_code == 403

    def test_its_usage_is_shown(self, api: Api, command: Command) -> None:
        api.get("/users/whoami")
        key_id = api.get("/api_key/").json["api_keys"][0]["id"]
        rows = told(command("keys", "usage", key_id, "--json"))
        assert {row["status"] for row in rows} == {200}

    def test_a_date_that_is_none_in_utc_is_refused_with_the_usage(self, command: Command) -> None:
        done = command("keys", "create", "--expires", "9999-12-31T23:59:59-1400")
        assert (done.exit_code, "the last day of all" in done.stderr) == (2, True)

    @pytest.mark.parametrize(
        ("words", "says"),
        [
            (("keys", "revoke", "sk-nobod"), "there is no key sk-nobod"),
            (("keys", "create", "--network", "everywhere"), "'everywhere' is not a network"),
            (("keys", "create", "--flow", "nix"), "has no flow nix; `keyturn flows list` shows them"),
            (("keys", "create", "--user", "nobody"), "there is no user nobody"),
        ],
    )
    def test_a_refusal_is_one_line_and_status_1(
        self, api: Api, command: Command, words: tuple[str, ...], says: str
    ) -> None:
        done = command(*words)
        assert done.exit_code == 1
        assert says in done.stderr
        assert done.stderr.count("\n") == 1

    @pytest.mark.parametrize("words", [("keys", "create", "--rate", "many"), ("keys", "update", "x")])
    def test_wrong_usage_is_status_2(self, api: Api, command: Command, words: tuple[str, ...]) -> None:
        assert command(*words).exit_code in {1, 2}


class TestWhoMay:
    """A shell alone is no superuser."""

    @pytest.mark.parametrize(
        "words",
        [("keys", "list"), ("users", "list"), ("variables", "list"), ("flows", "list"), ("audit", "export")],
    )
    def test_every_group_wants_the_superusers_password(
        self, api: Api, keyturn: Command, words: tuple[str, ...]
    ) -> None:
        done = keyturn(*words, lines=("wrong",))
        assert (done.exit_code, done.stdout) == (1, "")
        assert "Incorrect username or password" in done.stderr
        assert keyturn(*words).exit_code == 2

    def test_a_wrong_password_is_in_the_audit_trail(self, api: Api, command: Command) -> None:
        run_wrong = command("users", "list", LANGFLOW_SUPERUSER_PASSWORD="not-the-password")
        assert run_wrong.exit_code == 1
        event = api.get("/audit/?action=login&outcome=refused").json["events"][0]
        assert (event["via"], event["subject_name"]) == ("cli", SUPERUSER)

    def test_a_sign_in_is_over_and_recorded_before_the_command_begins(self, api: Api, command: Command) -> None:
        assert command("users", "deactivate", "nobody-of-that-name").exit_code == 1
        event = api.get("/audit/?action=login").json["events"][0]
        assert (event["via"], event["outcome"], event["actor_name"]) == ("cli", "done", SUPERUSER)


class TestUsers:
    """``keyturn users``."""

    def test_a_user_is_made_with_a_password_from_standard_input(self, api: Api, command: Command) -> None:
        assert command("users", "create", "newcomer", secret="a-new-password").exit_code == 0
        form = {"username": "newcomer", "password": "a-new-password"}
        assert api.app.test_client().post("/api/v1/login", data=form).status_code == 200

    def test_a_short_password_is_refused(self, api: Api, command: Command) -> None:
        api.new_user("somebody")
        for words in (("users", "create", "newcomer"), ("users", "reset-password", "somebody"),
                      ("superuser", "--username", "second")):  # fmt: skip
            done = command(*words, secret="1234567")
            assert (done.exit_code, done.stderr) == (1, "keyturn: password: Use at least 8 characters\n"), words
        assert len(told(command("users", "list", "--json"))) == 2

    def test_a_password_is_reset_and_a_user_deactivated_and_deleted(self, api: Api, command: Command) -> None:
        other = api.new_user("somebody")
        command("users", "reset-password", "somebody", secret="another-password")
        form = {"username": "somebody", "password": "another-password"}
        assert api.app.test_client().post("/api/v1/login", data=form).status_code == 200
        command("users", "deactivate", "somebody")
        assert other.get("/users/whoami").status_code == 403
        command("users", "activate", "somebody")
        assert other.get("/users/whoami").status_code == 200
        assert command("users", "delete", "somebody", "--yes").exit_code == 0
        assert [user["username"] for user in told(command("users", "list", "--json"))] == [SUPERUSER]

    def test_the_acts_are_in_the_audit_trail_under_the_superusers_name(self, api: Api, command: Command) -> None:
        command("users", "create", "newcomer", secret="a-new-password")
        lines = command("audit", "export", "--action", "user.created").stdout.splitlines()
        event = json.loads(lines[-1])
        assert (event["actor_name"], event["via"], event["subject_name"]) == (SUPERUSER, "cli", "newcomer")


class TestSuperuser:
    """``keyturn superuser``."""

    def test_on_an_empty_database_it_makes_the_first_one(
        self, command: Command, make_app: Callable[..., Flask], database_url: URL
    ) -> None:
        # The fixture's first line is the password of the new one here: there is nobody yet to ask for another.
        assert command("superuser", "--username", "first").exit_code == 0
        assert Api.signed_in(make_app(database_url, superuser="first"), "first", PASSWORD)

    def test_it_wants_an_existing_superusers_password(self, api: Api, command: Command) -> None:
        done = command("superuser", "--username", "second", secret="second-password")
        assert done.exit_code == 0, done.stderr
        assert Api.signed_in(api.app, "second", "second-password").get("/audit/").status_code == 200

    def test_break_glass_wants_the_secret_key_and_is_audited(self, api: Api, keyturn: Command) -> None:
        words = ("superuser", "--username", "rescuer", "--break-glass")
        assert keyturn(*words, lines=(PASSWORD, "rescue-password")).exit_code == 1
        assert keyturn(*words, lines=(SECRET, "rescue-password")).exit_code == 0
        made = api.get("/audit/?action=user.created").json["events"][0]
        refused = api.get("/audit/?outcome=refused").json["events"][0]
        assert (made["subject_name"], made["details"]["reason"]) == ("rescuer", "break glass")
        assert refused["details"]["reason"] == "wrong secret key"

    @pytest.mark.parametrize("option", ["--password", "--auth-token"])
    def test_a_secret_as_an_argument_is_refused_in_words(self, keyturn: Command, option: str) -> None:
        done = keyturn("superuser", "--username", "second", option, "canary")
        assert done.exit_code == 2
        assert "standard input" in done.stderr
        assert "canary" not in done.output


class TestLangflowsOwn:
    """What scripts for Langflow's commands say."""

    @pytest.fixture
    def taken_port(self) -> Iterator[str]:
        """A port at which a server stops after it has read everything that it was told."""
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            yield str(taken.getsockname()[1])

    @pytest.mark.parametrize(
        "words",
        [
            "--auto-saving --auto-saving-interval 1000 --max-file-size-upload 10 --worker-timeout 60",
            "--no-dev --no-store --no-open-browser --cache InMemoryCache --log-level CRITICAL --backend-only",
            "--components-path /components --frontend-path /pages --log-rotation 1day",
            "--webhook-polling-interval 5000 --health-check-max-retries 5",
            "--health-check-max-retries --no-remove-api-keys",
        ],
    )
    def test_the_options_of_langflow_run_are_taken(self, keyturn: Command, taken_port: str, words: str) -> None:
        done = keyturn("run", "--port", taken_port, *words.split())
        assert done.stderr.startswith(f"keyturn: cannot listen on 127.0.0.1:{taken_port}")

    @pytest.mark.parametrize("option", ["--ssl-cert-file-path=a", "--ssl-key-file-path=a", "--remove-api-keys"])
    def test_an_option_that_would_be_missed_stops_the_start_with_one_line(
        self, keyturn: Command, option: str
    ) -> None:
        done = keyturn("run", option)
        assert (done.exit_code, done.stderr.count("\n")) == (3, 1)
        assert done.stderr.startswith(f"keyturn: {option.partition('=')[0]}: Keyturn ")

    @pytest.mark.parametrize(
        ("name", "instead"), [("migration", "keyturn db upgrade"), ("copy-db", "keyturn import-langflow")]
    )
    def test_a_command_that_is_not_here_names_the_one_that_is(
        self, keyturn: Command, name: str, instead: str
    ) -> None:
        done = keyturn(name, "--test")
        assert (done.exit_code, instead in done.stderr) == (2, True)

    @pytest.mark.parametrize(
        ("name", "environment", "says"),
        [
            ("langflow", {}, f"langflow {NEWEST_LANGFLOW}"),
            ("langflow", {"LANGFLOW_VERSION": "1.5.1"}, "langflow 1.5.1"),
            ("keyturn", {"LANGFLOW_VERSION": "1.5.1"}, f"keyturn, version {__version__}"),
        ],
    )
    def test_the_version_is_that_of_the_name_that_was_called(
        self, bare_environment: None, name: str, environment: dict[str, str], says: str
    ) -> None:
        done = CliRunner().invoke(main, ["--version"], prog_name=name, env=environment)
        assert done.stdout == f"{says}\n"


class TestVariables:
    """``keyturn variables``."""

    def test_a_value_comes_from_standard_input_and_is_not_shown_again(self, api: Api, command: Command) -> None:
        command("variables", "set", "A_SECRET", secret="canary-value")
        listed = command("variables", "list").stdout
        assert "A_SECRET" in listed
        assert "canary" not in listed

    def test_a_generic_one_is_shown_and_changed_and_deleted(self, api: Api, command: Command) -> None:
        for value in ("one", "two"):
            command("variables", "set", "PLAIN", "--generic", secret=value)
        assert [row["value"] for row in told(command("variables", "list", "--json"))] == ["two"]
        assert command("variables", "delete", "PLAIN").exit_code == 0
        assert command("variables", "delete", "PLAIN").exit_code == 1

    def test_explain_says_what_is_missing(self, api: Api, command: Command) -> None:
        data = flows.chat_with_model(flows.openai_model())
        api.post("/flows/", json={"name": "chat", "endpoint_name": "chat", "data": data})
        rows = told(command("variables", "explain", "chat", "--json"))
        assert [(row["variable"], row["problem"]) for row in rows] == [("OPENAI_API_KEY", "not set")]


class TestFlows:
    """``keyturn flows``."""

    def test_what_is_uploaded_can_be_listed_run_downloaded_and_deleted(
        self, api: Api, command: Command, tmp_path: Path
    ) -> None:
        exported = {"name": "from a file", "endpoint_name": "from-a-file", "data": flows.echo()}
        (tmp_path / "flow.json").write_text(json.dumps(exported))
        assert command("flows", "upload", "flow.json").exit_code == 0
        assert api.post("/run/from-a-file", json={"input_value": "x"}).status_code == 200
        assert [row["name"] for row in told(command("flows", "list", "--json"))] == ["from a file"]
        assert json.loads(command("flows", "download", "from-a-file").stdout)["data"] == exported["data"]
        assert command("flows", "delete", "from a file").exit_code == 0
        assert command("flows", "download", "from-a-file").exit_code == 1

    @pytest.mark.parametrize(
        "text",
        ["no json", "[]", "{}", '{"flows": [1]}', '{"flows": {}}', '{"name": 5}', '{"name": "x", "data": 5}'],
    )
    def test_a_file_that_is_no_flow_is_refused_in_one_line(
        self, api: Api, command: Command, tmp_path: Path, text: str
    ) -> None:
        (tmp_path / "flow.json").write_text(text)
        done = command("flows", "upload", "flow.json")
        assert (done.exit_code, done.stderr.count("\n")) == (1, 1)


class TestSecrets:
    """``keyturn secrets``."""

    NEW = "another-secret-0123456789-abcdefghij"

    def values(self, api: Api, count: int = 3) -> None:
        for number in range(count):
            body = {"name": f"V{number}", "value": f"value {number}", "type": "Credential", "default_fields": []}
            api.post("/variables/", json=body)

    def test_check_says_that_the_secret_fits(self, api: Api, keyturn: Command) -> None:
        self.values(api)
        assert keyturn("secrets", "check").stdout == "The secret from LANGFLOW_SECRET_KEY fits: 3 values open.\n"

    def test_check_says_in_one_line_that_it_does_not(self, api: Api, keyturn: Command) -> None:
        self.values(api)
        done = keyturn("secrets", "check", LANGFLOW_SECRET_KEY=self.NEW)
        assert (done.exit_code, done.stderr.count("\n")) == (3, 1)
        assert "is not the one that this database was encrypted with" in done.stderr

    def test_after_a_rotation_the_new_secret_alone_opens_everything(
        self, api: Api, keyturn: Command, make_app: Callable[..., Flask], database_url: URL
    ) -> None:
        self.values(api, 250)
        both = {"LANGFLOW_SECRET_KEY": self.NEW, "KEYTURN_PREVIOUS_SECRET_KEYS": SECRET}
        assert "with a former secret" in keyturn("secrets", "check", **both).stdout
        assert keyturn("secrets", "rotate", **both).exit_code == 0
        alone = keyturn("secrets", "check", LANGFLOW_SECRET_KEY=self.NEW)
        assert alone.stdout == "The secret from LANGFLOW_SECRET_KEY fits: 250 values open.\n"
        own = make_app(database_url, secret_key=self.NEW).extensions["keyturn"]
        with own.engine.connect() as connection:
            texts = connection.exec_driver_sql("SELECT ciphertext FROM variable").scalars().all()
        assert sorted(own.vault.decrypt(text) for text in texts) == sorted(f"value {at}" for at in range(250))

    def test_a_second_rotation_finds_nothing_to_do(self, api: Api, keyturn: Command) -> None:
        self.values(api)
        assert "0 values encrypted anew" in keyturn("secrets", "rotate").stdout

    def test_a_value_that_nothing_opens_stays_and_is_named(
        self, api: Api, keyturn: Command, database_url: URL
    ) -> None:
        self.values(api)
        engine = create_engine(database_url)
        with engine.begin() as connection:
            broken = f"UPDATE variable SET ciphertext = 'kt1:{uuid.uuid4().hex[:12]}:lost' WHERE name = 'V1'"
            connection.exec_driver_sql(broken)
        engine.dispose()
        done = keyturn("secrets", "rotate")
        assert (done.exit_code, "V1" in done.stderr) == (1, True)
        assert keyturn("secrets", "check").exit_code == 1
