"""Starting: an empty database, several workers, and what stands in the way."""

from __future__ import annotations

import re
import socket
import subprocess
from pathlib import Path

import pytest
import requests
from sqlalchemy import URL, create_engine, text

from tests.support.server import ROOT, clean_environment, free_port, run, running
from tests.support.waiting import wait_until_it_answers

PASSWORD = "securepassword"


def test_four_gunicorn_workers_start_on_an_empty_database_and_bootstrap_once(
    database_url: URL, tmp_path: Path
) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environment = {
        "LANGFLOW_DATABASE_URL": database_url.render_as_string(hide_password=False).replace("+psycopg", ""),
        "LANGFLOW_CONFIG_DIR": str(tmp_path),
        "LANGFLOW_SUPERUSER_PASSWORD": PASSWORD,
        "LANGFLOW_PORT": str(port),
        "LANGFLOW_WORKERS": "4",
    }
    with running(["gunicorn", "-c", "python:service.gunicorn_conf", "wsgi:app"], ROOT, **environment):
        wait_until_it_answers(url)
        login = requests.post(f"{url}/api/v1/login", data={"username": "langflow", "password": PASSWORD}, timeout=30)
    assert login.status_code == 200
    engine = create_engine(database_url)
    with engine.connect() as connection:
        assert connection.execute(text('SELECT count(*) FROM "user"')).scalar() == 1
    engine.dispose()


def test_uses_are_counted_exactly_over_workers_and_a_stop(database_url: URL, tmp_path: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environment = {
        "LANGFLOW_DATABASE_URL": database_url.render_as_string(hide_password=False),
        "LANGFLOW_CONFIG_DIR": str(tmp_path),
        "LANGFLOW_SUPERUSER_PASSWORD": PASSWORD,
    }
    key = run(["keyturn", "api-key", "--plain"], tmp_path, **environment).stdout.strip()
    with running(["keyturn", "run", "--port", str(port), "--workers", "2"], tmp_path, **environment):
        wait_until_it_answers(url)
        for _ in range(150):
            requests.get(f"{url}/api/v1/users/whoami", headers={"x-api-key": key}, timeout=30)
    engine = create_engine(database_url)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT total_uses FROM api_key")).scalar() == 150
    engine.dispose()


def test_quickstart_prints_a_curl_that_can_be_pasted_and_no_secret_again(tmp_path: Path) -> None:
    port = str(free_port())
    own = {"LANGFLOW_CONFIG_DIR": str(tmp_path / "data")}
    with running(["keyturn", "quickstart", "--port", port], tmp_path, **own) as server:
        printed = server.wait_for("needs OPENAI_API_KEY")
        curl = re.search(r"^curl .*?\}'$", printed, re.S | re.M)
        assert curl, printed
        answer = subprocess.run(["bash", "-c", curl[0]], capture_output=True, text=True, check=True, timeout=30,
                                env=clean_environment())  # fmt: skip
        assert "Hello" in answer.stdout
    with running(["keyturn", "quickstart", "--port", port], tmp_path, **own) as server:
        again = server.wait_for("needs OPENAI_API_KEY")
    assert not re.search(r"sk-[\w-]{20,}", again)


def test_an_option_without_effect_is_named_at_the_start(tmp_path: Path) -> None:
    words = ["keyturn", "run", "--port", str(free_port()), "--components-path", "components"]
    with running(words, tmp_path, LANGFLOW_CONFIG_DIR=str(tmp_path), LANGFLOW_DEV="false") as server:
        server.wait_for("Unused    LANGFLOW_DEV, --components-path: Langflow's, without effect here")


def test_a_taken_port_stops_the_start_and_says_so(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = run(["keyturn", "run", "--port", str(port)], tmp_path, LANGFLOW_CONFIG_DIR=str(tmp_path))
    assert refused.returncode == 3
    assert refused.stderr.startswith(f"keyturn: cannot listen on 127.0.0.1:{port}")


def test_gunicorn_stops_with_one_line_when_a_setting_is_unknown(tmp_path: Path) -> None:
    environment = {"LANGFLOW_CONFIG_DIR": str(tmp_path), "LANGFLOW_AUTOLOGIN": "false"}
    refused = run(["gunicorn", "-c", "python:service.gunicorn_conf", "wsgi:app"], ROOT, **environment)
    assert refused.returncode == 3
    assert refused.stderr == "keyturn: LANGFLOW_AUTOLOGIN is not a setting: did you mean LANGFLOW_AUTO_LOGIN?\n"


@pytest.mark.parametrize(
    ("setting", "value", "says"),
    [
        ("LANGFLOW_LOG_FILE", "/dev/null/log", "LANGFLOW_LOG_FILE /dev/null/log cannot be opened"),
        ("KEYTURN_REDIS_URL", "redis://127.0.0.1:no/0", "KEYTURN_REDIS_URL cannot be used"),
    ],
)
def test_what_the_workers_would_refuse_stops_the_start_in_one_line(
    tmp_path: Path, setting: str, value: str, says: str
) -> None:
    own = {"LANGFLOW_CONFIG_DIR": str(tmp_path), "LANGFLOW_PORT": str(free_port()), setting: value}
    ended = run(["gunicorn", "-c", "python:service.gunicorn_conf", "wsgi:app"], ROOT, **own)
    assert (ended.returncode, ended.stderr.count("\n")) == (3, 1)
    assert ended.stderr.startswith(f"keyturn: {says}")


def test_a_key_can_be_made_before_the_first_start(tmp_path: Path) -> None:
    own = {"LANGFLOW_CONFIG_DIR": str(tmp_path)}
    made = run(["langflow", "api-key", "--plain"], tmp_path, **own)
    password = re.fullmatch(r"keyturn: made the superuser langflow with the password (\S+)\n", made.stderr)
    assert password
    with running(["keyturn", "run"], tmp_path, **own, LANGFLOW_PORT=str(port := free_port())):
        wait_until_it_answers(url := f"http://127.0.0.1:{port}")
        key = {"x-api-key": made.stdout.strip()}
        assert requests.get(f"{url}/api/v1/users/whoami", headers=key, timeout=30).json()["username"] == "langflow"
        login = {"username": "langflow", "password": password[1]}
        assert requests.post(f"{url}/api/v1/login", data=login, timeout=30).status_code == 200
