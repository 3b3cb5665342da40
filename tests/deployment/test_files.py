"""What else is shipped for a deployment fits the code: the lock, the container, compose and Kubernetes."""

from __future__ import annotations

import configparser
import re
import shlex
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from service.settings import KNOWN_NAMES, Settings
from tests.conftest import SECRET
from tests.support.server import ROOT, clean_environment, free_port, running
from tests.support.waiting import until, wait_until_it_answers

SHIPPED = ROOT / "docs" / "deployment"
LOCK = (SHIPPED / "requirements.txt").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((SHIPPED / "compose.yaml").read_text())
CLUSTER: list[dict[str, Any]] = list(yaml.safe_load_all((SHIPPED / "kubernetes.yaml").read_text()))
PODS = {one["metadata"]["name"]: one["spec"]["template"]["spec"] for one in CLUSTER if "template" in one["spec"]}


def default(field: str) -> Any:
    return Settings.__dataclass_fields__[field].default


@pytest.mark.parametrize("file", sorted(filter(Path.is_file, SHIPPED.iterdir())), ids=lambda file: file.name)
def test_every_setting_that_a_file_names_exists(file: Path) -> None:
    named = set(re.findall(r"\b(?:LANGFLOW|KEYTURN)_[A-Z][A-Z_]+", file.read_text()))
    assert {name for name in named if not name.startswith("LANGFLOW_GLOBAL_VAR")} - KNOWN_NAMES <= {"KEYTURN_PORT"}


# The lock


def pins() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, version in re.findall(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)", LOCK, re.MULTILINE):
        found.setdefault(canonicalize_name(name), []).append(version)
    return found


def test_the_lock_holds_what_setup_cfg_asks_for_in_its_range() -> None:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    extras = parser["options.extras_require"]
    lines = f"{parser['options']['install_requires']}\n{extras['celery']}\n{extras['redis']}".split("\n")
    wanted = [Requirement(line) for line in lines if line.strip()]
    locked = pins()
    outside = [
        str(one)
        for one in wanted
        if not all(one.specifier.contains(version) for version in locked.get(canonicalize_name(one.name), ["0"]))
    ]
    assert outside == []


@pytest.mark.parametrize("name", ["requirements.txt", "build-requirements.txt"])
def test_everything_in_a_lock_has_a_version_and_hashes_and_no_address(name: str) -> None:
    text = re.sub(r"^#.*\n", "", (SHIPPED / name).read_text(), flags=re.MULTILINE)
    entries = text.replace("\\\n", " ").splitlines()
    assert entries
    assert [entry for entry in entries if not re.match(r"[\w.-]+==\S+ .*--hash=sha256:[0-9a-f]{64}", entry)] == []
    assert not re.search(r"://|--index|--find", "".join(entries))


# nginx


def test_nginx_takes_what_keyturn_takes_and_waits_longer_than_a_run() -> None:
    text = (SHIPPED / "nginx.conf").read_text()
    largest = int(re.search(r"client_max_body_size (\d+)m;", text)[1])  # type: ignore[index]
    longest = int(re.search(r"proxy_read_timeout (\d+)s;", text)[1])  # type: ignore[index]
    assert largest > default("max_file_size_upload_mb")
    assert longest > default("run_timeout")


# The container

CONTAINER = (SHIPPED / "Containerfile").read_text()


def test_the_container_copies_what_is_there_and_is_let_through() -> None:
    let = {line[1:] for line in (SHIPPED / "Containerfile.dockerignore").read_text().splitlines() if line[:1] == "!"}
    copied = {source for line in re.findall(r"^COPY (?!--from)(.*)$", CONTAINER, re.MULTILINE)
              for source in shlex.split(line)[:-1]}  # fmt: skip
    assert copied == let
    assert all((ROOT / source).exists() for source in copied)


def test_the_container_runs_as_a_user_that_is_a_number() -> None:
    assert re.findall(r"^USER (.*)$", CONTAINER, re.MULTILINE)[-1] == "10001:10001"


def test_the_containers_check_tells_a_server_that_is_ready_from_none(tmp_path: Path) -> None:
    port = free_port()
    words = re.search(r"HEALTHCHECK .*\\\n  CMD (\[.*\])", CONTAINER)
    assert words
    command = [word.replace("7860", str(port)) for word in yaml.safe_load(words[1])]

    def status() -> int:
        return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode

    assert status() == 1
    with running(["keyturn", "run", "--port", str(port)], tmp_path, LANGFLOW_CONFIG_DIR=str(tmp_path)):
        wait_until_it_answers(f"http://127.0.0.1:{port}")
        assert until(status, lambda code: code == 0, 60) == 0


# Compose


def test_compose_has_each_secret_that_a_service_wants_and_no_other() -> None:
    wanted = {
        one if isinstance(one, str) else one["source"]
        for service in COMPOSE["services"].values() for one in service["secrets"]
    }  # fmt: skip
    assert wanted == COMPOSE["secrets"].keys()


def test_compose_names_no_password() -> None:
    given = {name for service in COMPOSE["services"].values() for name in service.get("environment", {})}
    assert {name for name in given if re.search("PASS|SECRET|KEY$", name)} == {"POSTGRES_PASSWORD_FILE"}


def test_compose_waits_longer_than_what_is_waited_for() -> None:
    seconds = {name: int(COMPOSE["services"][name]["stop_grace_period"][:-1]) for name in ("keyturn", "worker")}
    assert seconds["keyturn"] > default("graceful_timeout")
    assert seconds["worker"] > default("run_timeout")


def test_composes_port_is_open_to_this_host_alone() -> None:
    ports = {name: service["ports"] for name, service in COMPOSE["services"].items() if "ports" in service}
    assert ports == {"keyturn": ["127.0.0.1:7860:7860"]}


def make_secrets(folder: Path) -> int:
    return subprocess.run([SHIPPED / "make-secrets.sh", folder], env=clean_environment(), check=False).returncode


def test_the_secrets_that_are_made_fit_each_other_and_are_nobody_elses(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    assert make_secrets(folder) == 0
    assert {file.name for file in folder.iterdir()} == COMPOSE["secrets"].keys()
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}
    settings = Settings.from_env({}, env_file=folder / "keyturn.env")
    assert settings.database_url.password == (folder / "postgres_password").read_text()
    assert f"requirepass {settings.redis_url.partition('@')[0][9:]}\n" in (folder / "redis.conf").read_text()
    assert settings.broker_url.split("@")[0].split(":")[2] in (folder / "rabbitmq.conf").read_text()


def test_secrets_that_are_there_are_not_written_over(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    make_secrets(folder)
    before = {file.name: file.read_text() for file in folder.iterdir()}
    assert make_secrets(folder) != 0
    assert {file.name: file.read_text() for file in folder.iterdir()} == before


# Kubernetes


@pytest.mark.parametrize("name", PODS)
def test_every_pod_is_closed(name: str) -> None:
    pod = PODS[name]
    # Or a service of that name puts KEYTURN_PORT into the environment, which stops the start.
    assert pod["enableServiceLinks"] is False
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert str(pod["securityContext"]["runAsUser"]) in CONTAINER
    for container in pod["containers"]:
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"] is True
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}


def test_the_cluster_waits_longer_than_what_is_waited_for() -> None:
    before_stop = int(PODS["keyturn"]["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    assert PODS["keyturn"]["terminationGracePeriodSeconds"] > before_stop + default("graceful_timeout")
    assert PODS["keyturn-worker"]["terminationGracePeriodSeconds"] > default("run_timeout")


def test_the_clusters_probes_ask_what_they_should() -> None:
    container = PODS["keyturn"]["containers"][0]
    paths = {name: container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "liveness", "readiness")}
    # A database that is away must not have pods restarted.
    assert paths == {"startup": "/health", "liveness": "/health", "readiness": "/ready"}


def test_the_clusters_settings_start_a_server(tmp_path: Path) -> None:
    values = {one["name"]: one["value"] for one in PODS["keyturn"]["containers"][0]["env"]}
    settings = Settings.from_env({**values, "LANGFLOW_SECRET_KEY": SECRET, "LANGFLOW_CONFIG_DIR": str(tmp_path)})
    assert settings.auto_migrate is False
