"""``lfx``, Langflow's command line for flows in files, with Keyturn as its remote server."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import Place
from tests.clients.environments import python_of, run_client
from tests.support.server import ROOT

Lfx = Callable[..., subprocess.CompletedProcess[str]]
ECHO: dict[str, Any] = json.loads((ROOT / "service" / "demo" / "echo.json").read_text())


@pytest.fixture
def workplace(place: Place, tmp_path: Path) -> Path:
    """A project of lfx whose default environment is the server."""
    (tmp_path / ".lfx").mkdir()
    lines = ("environments:", "  keyturn:", f"    url: {place.url}", "    api_key_env: THE_KEY",
             "defaults:", "  environment: keyturn")  # fmt: skip
    (tmp_path / ".lfx" / "environments.yaml").write_text("\n".join(lines))
    (tmp_path / "flows").mkdir()
    return tmp_path


@pytest.fixture
def lfx(place: Place, workplace: Path) -> Lfx:
    """Runs a command of lfx in the workplace; its tables are wide enough to be read."""

    def run(*arguments: str, status: int = 0, key: str | None = None) -> subprocess.CompletedProcess[str]:
        command = [str(python_of("lfx").parent / "lfx"), *arguments]
        environment = {"THE_KEY": key or place.key, "HOME": str(workplace), "COLUMNS": "300", "NO_COLOR": "1"}
        done = run_client(command, workplace, **environment)
        assert done.returncode == status, done.stdout + done.stderr
        return done

    return run


def local(workplace: Path, name: str, **changes: Any) -> Path:
    path = workplace / "flows" / f"{name}.json"
    path.write_text(json.dumps(ECHO | {"name": name, "endpoint_name": None} | changes))
    return path


def test_login_says_whether_the_key_is_good(lfx: Lfx) -> None:
    assert "Connected successfully" in lfx("login").stdout
    assert "Authentication failed" in lfx("login", key="sk-nobody", status=1).stderr


def test_a_flow_goes_to_the_server_and_comes_back(lfx: Lfx, place: Place, workplace: Path) -> None:
    flow_id = "5b7c2c3e-7d5e-4f5b-9a43-0b1d3f1d2a01"
    local(workplace, "travelling", id=flow_id)
    assert "NEW" in lfx("status", status=1).stdout.upper()
    assert "1 created" in lfx("push", "--project", "Of lfx").stdout
    stored = place.call("GET", f"/flows/{flow_id}")
    project = next(one for one in place.call("GET", "/projects/") if one["name"] == "Of lfx")
    assert (stored["name"], stored["folder_id"]) == ("travelling", project["id"])
    assert "1 updated" in lfx("pull", "--project", "Of lfx", "--output-dir", "pulled").stdout
    pulled = json.loads((workplace / "pulled" / "travelling.json").read_text())
    assert (pulled["id"], pulled["data"]["edges"]) == (flow_id, ECHO["data"]["edges"])


def test_what_was_pulled_is_in_step_and_is_not_pushed_again(lfx: Lfx, place: Place) -> None:
    flow = place.upload_demo("echo", name="in step", endpoint_name=None)
    lfx("pull", "--flow-id", flow["id"])
    assert "synced" in lfx("status").stdout
    assert "1 unchanged" in lfx("push").stdout


def test_a_change_on_the_server_is_seen(lfx: Lfx, place: Place) -> None:
    flow = place.upload_demo("echo", name="changed there", endpoint_name=None)
    lfx("pull", "--flow-id", flow["id"])
    place.call("PATCH", f"/flows/{flow['id']}", json={"description": "another one"})
    assert "synced" not in lfx("status", status=1).stdout


def test_a_flow_that_is_pushed_again_is_updated(lfx: Lfx, place: Place, workplace: Path) -> None:
    flow_id = "5b7c2c3e-7d5e-4f5b-9a43-0b1d3f1d2a02"
    local(workplace, "twice", id=flow_id)
    lfx("push")
    local(workplace, "twice", id=flow_id, description="the second time")
    assert "1 updated" in lfx("push").stdout
    assert place.call("GET", f"/flows/{flow_id}")["description"] == "the second time"


def test_everything_can_be_pulled_and_exported(lfx: Lfx, place: Place, workplace: Path) -> None:
    flow = place.upload_demo("echo", name="among others", endpoint_name=None)
    lfx("pull", "--output-dir", "all")
    lfx("export", "--env", "keyturn", "--flow-id", flow["id"], "--output-dir", "exported")
    assert (workplace / "all" / "among_others.json").exists()
    assert len(list((workplace / "exported").glob("*.json"))) == 1


def test_a_flow_of_nobody_is_not_found(lfx: Lfx) -> None:
    assert "404" in lfx("pull", "--flow-id", "5b7c2c3e-7d5e-4f5b-9a43-0b1d3f1d2aff", status=1).stderr
