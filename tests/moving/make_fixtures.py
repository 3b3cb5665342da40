"""Make the fixtures: databases that real Langflows wrote, and what is known to be in them.

``make langflow-fixtures`` runs this; it needs a network the first time, the tools of PostgreSQL 15 or newer, and a
server of it that takes ``postgres`` without a password. Each Langflow starts on loopback with a folder of its own, is
filled through its REST API, and stopped. Only what its API cannot do is written with SQL: a switched-off key, and the
starter flows' graphs are emptied, which would be 2 MB. All passwords, keys and secrets are test values.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from tests.support import flows as build  # noqa: E402

Json = dict[str, Any]
FIXTURES = HERE / "fixtures"
HOST, USER = "127.0.0.1", "postgres"
ADMIN = {"username": "langflow-admin", "password": "test-Admin-pass-1"}
ALICE = {"username": "alice", "password": "test-Alice-pass-ü-1"}
#: Longer than the 72 bytes that bcrypt reads.
BOB = {"username": "bob", "password": "test-Bob-" + "long " * 20}
SHOUTED = {"username": "BOB", "password": "test-Shouted-pass-1"}
SHORT = "abc"
AGES = {"1.5.1": "0.5.1", "1.13.0": "1.13.0"}

TUNING = """
UPDATE apikey SET is_active = false WHERE name = 'switched off';
UPDATE flow SET data = '{"nodes": [], "edges": []}' WHERE user_id IS NULL;
DELETE FROM "transaction";
DELETE FROM vertex_build;
"""


@dataclass
class Server:
    """A running Langflow; ``call`` speaks to its API."""

    port: int
    known: Json = field(default_factory=dict)

    def call(self, method: str, path: str, body: object = None, *, form: bool = False, **headers: str) -> Any:
        encoded = None
        if body is not None:
            encoded = (urllib.parse.urlencode(body) if form else json.dumps(body)).encode()
            headers["Content-Type"] = "application/x-www-form-urlencoded" if form else "application/json"
        request = urllib.request.Request(f"http://{HOST}:{self.port}{path}", encoded, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                content = answer.read()
                # The catalogue of components comes compressed, whether asked for or not.
                return json.loads(gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content)
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{method} {path}: {error.code} {error.read()[:500]!r}") from None

    def login(self, who: Json) -> dict[str, str]:
        """Sign in; returns the header of the session."""
        token = self.call("POST", "/api/v1/login", who, form=True)["access_token"]
        return {"Authorization": f"Bearer {token}"}


def start(python: Path, port: int, folder: Path, database: str, secret: str) -> subprocess.Popen[bytes]:
    """Start a Langflow and wait until it answers."""
    environment = {
        **os.environ,
        "LANGFLOW_CONFIG_DIR": str(folder),
        "LANGFLOW_DATABASE_URL": database,
        "LANGFLOW_AUTO_LOGIN": "false",
        "LANGFLOW_SUPERUSER": ADMIN["username"],
        "LANGFLOW_SUPERUSER_PASSWORD": ADMIN["password"],
        "LANGFLOW_STORE_ENVIRONMENT_VARIABLES": "false",
        "LANGFLOW_RATE_LIMIT_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }
    if secret:
        environment["LANGFLOW_SECRET_KEY"] = secret
    command = [str(python), "-m", "langflow", "run", "--host", HOST, "--port", str(port), "--backend-only"]
    with (folder / "server.log").open("ab") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    for _ in range(180):
        try:
            with urllib.request.urlopen(f"http://{HOST}:{port}/health_check", timeout=5):
                return process
        except OSError:
            if process.poll() is not None:
                break
            time.sleep(1)
    raise RuntimeError(f"Langflow did not start: see {folder / 'server.log'}")


def stop(process: subprocess.Popen[bytes]) -> None:
    """Stop it as an operator would, and then whatever is left of it."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def echo_flow(server: Server, session: dict[str, str]) -> Json:
    """Chat Input to Chat Output, with the nodes of this Langflow's own catalogue."""
    catalogue = {name: body for group in server.call("GET", "/api/v1/all", **session).values()
                 for name, body in group.items()}  # fmt: skip
    nodes = []
    for kind in ("ChatInput", "ChatOutput"):
        node_id = f"{kind}-moved"
        data = {"id": node_id, "node": catalogue[kind], "type": kind}
        nodes.append({"id": node_id, "type": "genericNode", "position": {"x": 0, "y": 0}, "data": data})
    joined = build.edge(nodes[0], "message", nodes[1], "input_value")
    target = joined["data"]["targetHandle"]
    template = catalogue["ChatOutput"]["template"]["input_value"]
    target.update(type=template["type"], inputTypes=template["input_types"])
    joined["targetHandle"] = build.handle(target)
    return build.flow(nodes, [joined])


def fill(server: Server, age: str, *, twins: bool) -> None:
    """Make what the tests look for, and note the clear values."""
    known = server.known
    admin = server.login(ADMIN)
    people = [ALICE, BOB, *([SHOUTED] if twins else [])]
    for who in people:
        made = server.call("POST", "/api/v1/users/", who, **admin)
        server.call("PATCH", f"/api/v1/users/{made['id']}", {"is_active": True}, **admin)
    known["passwords"] = {who["username"]: who["password"] for who in [ADMIN, *people]}
    alice, bob = server.login(ALICE), server.login(BOB)
    known["keys"] = {
        name: server.call("POST", "/api/v1/api_key/", {"name": name} | more, **who)["api_key"]
        for name, who, more in (
            ("administration", admin, {}),
            ("used", alice, {}),
            ("switched off", alice, {}),
            ("expiring", bob, {"expires_at": "2099-06-30T12:00:00+02:00"} if age == "1.13.0" else {}),
        )
    }
    known["variables"] = {"alice": {"SERVICE_TOKEN": "token-of-alice"}, "bob": {"SERVICE_TOKEN": "token-of-bob"}}
    known["variables"]["alice"]["GREETING"] = "Grüß Gott"
    for name, who in (("alice", alice), ("bob", bob)):
        for variable, value in known["variables"][name].items():
            kind = "Generic" if variable == "GREETING" else "Credential"
            body = {"name": variable, "value": value, "type": kind, "default_fields": ["openai_api_key"]}
            server.call("POST", "/api/v1/variables/", body, **who)
    project = server.call("POST", "/api/v1/projects/", {"name": "Support", "description": "Of the desk"}, **alice)
    data = echo_flow(server, alice)
    echo = {
        "name": "Echo", "description": "Says it again", "data": data, "endpoint_name": "echo", "icon": "bot",
        "icon_bg_color": "#FF00AA", "gradient": "2", "tags": ["support"], "folder_id": project["id"],
        "webhook": True, "mcp_enabled": True, "action_name": "echo", "action_description": "Echo",
        "access_type": "PUBLIC",
    }  # fmt: skip
    known["flow_id"] = server.call("POST", "/api/v1/flows/", echo, **alice)["id"]
    server.call("POST", "/api/v1/flows/", {"name": "Echo", "data": data}, **bob)
    draft = server.call("POST", "/api/v1/flows/", {"name": "Draft", "data": {"nodes": [], "edges": []}}, **alice)
    server.call("PATCH", f"/api/v1/flows/{draft['id']}", {"locked": True}, **alice)
    for text in ("first", "second"):
        body = {"input_value": text, "session_id": "talk-1"}
        server.call("POST", f"/api/v1/run/{known['flow_id']}", body, **{"x-api-key": known["keys"]["used"]})
    known["messages"] = ["first", "first", "second", "second"]


def postgresql(command: str, database: str, *arguments: str, script: str | None = None) -> str:
    """Run a tool of PostgreSQL and return what it prints."""
    full = [command, "--host", HOST, "--username", USER, "--dbname", database, *arguments]
    return subprocess.run(full, check=True, capture_output=True, text=True, input=script).stdout


def store(name: str, text: str, known: Json) -> None:
    """Write the pair of files of one fixture."""
    FIXTURES.mkdir(exist_ok=True)
    (FIXTURES / f"{name}.sql.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
    (FIXTURES / f"{name}.json").write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n", "utf-8")
    print(name, (FIXTURES / f"{name}.sql.gz").stat().st_size, "bytes")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def make(golden: Path, age: str, backend: str, secret: str, then: str = "") -> None:
    """Make one fixture.

    Args:
        golden: the folder with the environments.
        age: Langflow's version.
        backend: sqlite or postgresql.
        secret: LANGFLOW_SECRET_KEY; empty: Langflow makes its own.
        then: a newer Langflow that afterwards opens and migrates the database.
    """
    name = "-".join(filter(None, [age, then and f"to-{then}", backend, secret and "short"]))
    folder = golden / f"work-{name}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    base = f"keyturn_{name.replace('.', '_').replace('-', '_')}"
    url = f"sqlite:///{folder / 'langflow.db'}" if backend == "sqlite" else f"postgresql://{USER}@{HOST}:5432/{base}"
    if backend == "postgresql":
        postgresql(
            "psql", "postgres", script=f"DROP DATABASE IF EXISTS {base} WITH (FORCE);\nCREATE DATABASE {base};"
        )
    server = Server(free_port())
    for version in filter(None, (age, then)):
        process = start(golden / f"langflow-{AGES[version]}-env/bin/python", server.port, folder, url, secret)
        try:
            if version == age:
                fill(server, age, twins=age == "1.5.1" and not secret)
            else:
                mine = server.login(ALICE)
                server.known["keys"]["younger"] = server.call(
                    "POST", "/api/v1/api_key/", {"name": "younger"}, **mine
                )["api_key"]
                body = {"name": "YOUNGER", "value": "of 1.13", "type": "Credential", "default_fields": []}
                server.call("POST", "/api/v1/variables/", body, **mine)
                server.known["variables"]["alice"]["YOUNGER"] = "of 1.13"
        finally:
            stop(process)
    server.known["secret"] = secret or (folder / "secret_key").read_text().strip()
    if backend == "sqlite":
        with sqlite3.connect(folder / "langflow.db") as connection:
            connection.executescript(TUNING)
            dump = "\n".join(connection.iterdump())
        connection.close()
    else:
        postgresql("psql", base, script=TUNING)
        dump = postgresql("pg_dump", base, "--inserts", "--no-owner", "--no-privileges")
        dump = "\n".join(line for line in dump.splitlines() if not line.startswith("\\"))
        postgresql("psql", "postgres", script=f"DROP DATABASE {base} WITH (FORCE);")
    store(name, dump, server.known)
    shutil.rmtree(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("golden", type=Path)
    parser.add_argument("--only", default="", help="make the fixtures whose version, backend and secret this is")
    arguments = parser.parse_args()
    wanted = [
        ("1.5.1", "sqlite", "", ""),
        ("1.13.0", "sqlite", "", ""),
        ("1.5.1", "sqlite", SHORT, ""),
        ("1.13.0", "sqlite", SHORT, ""),
        ("1.5.1", "sqlite", SHORT, "1.13.0"),
        ("1.5.1", "postgresql", "", ""),
        ("1.13.0", "postgresql", "", ""),
    ]
    for one in wanted:
        if arguments.only in "-".join(filter(None, one)):
            make(arguments.golden.resolve(), *one)


if __name__ == "__main__":
    main()
