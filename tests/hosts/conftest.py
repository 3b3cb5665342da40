"""Real servers: one of four workers, or two of two workers each with a folder and an environment of its own."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter
from sqlalchemy import URL, make_url

from tests.conftest import PASSWORD, SECRET, SUPERUSER
from tests.support import flows
from tests.support.databases import empty_database
from tests.support.provider import Provider, serving
from tests.support.server import BIN, Process, clean_environment, free_port
from tests.support.waiting import until

Json = dict[str, Any]


@dataclass
class Host:
    """A server: its address, its processes, and what it runs with."""

    folder: Path
    environment: dict[str, str]
    port: int = field(default_factory=free_port)
    process: Process | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Begin to start."""
        self.folder.mkdir(exist_ok=True)
        command = [str(BIN / "keyturn"), "run", "--port", str(self.port)]
        self.process = Process(command, self.folder, clean_environment(**self.environment))

    def wait(self) -> None:
        """Wait until it answers."""
        assert self.process is not None
        self.process.wait_for("Pages", 120)
        until(self._answers, seconds=120)

    def _answers(self) -> bool:
        try:
            return requests.get(f"{self.url}/health", timeout=30).status_code == 200
        except requests.ConnectionError:
            return False

    def ask(
        self, method: str, path: str, key: str | None = None, *, token: str | None = None, **kwargs: Any
    ) -> requests.Response:
        """Send a request over a connection of its own, so that any worker may get it."""
        headers = dict(kwargs.pop("headers", {}))
        if key is not None:
            headers["x-api-key"] = key
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        full = path if path.startswith(("/api/", "/v1/")) else f"/api/v1{path}"
        with requests.Session() as session:
            session.mount("http://", _From(kwargs.pop("address", "127.0.0.1")))
            return session.request(method, self.url + full, headers=headers, timeout=60, **kwargs)

    def status(self, path: str, key: str | None = None, **kwargs: Any) -> int:
        """Ask, and return the status alone."""
        return self.ask("GET", path, key, **kwargs).status_code

    def make(self, method: str, path: str, key: str | None = None, **kwargs: Any) -> Any:
        """Send a request that has to be accepted, and return what it answers."""
        answer = self.ask(method, path, key, **kwargs)
        assert answer.status_code < 400, (path, answer.status_code, answer.text)
        return answer.json() if answer.content else None


class _From(HTTPAdapter):
    """Sends from an address of this machine's loopback network: limits count sign-ins by address."""

    def __init__(self, address: str) -> None:
        self._address = address
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> Any:
        return super().init_poolmanager(*args, source_address=(self._address, 0), **kwargs)


@dataclass
class Place:
    """``here`` is where something is done, ``there`` where it is asked for; they may be the same server."""

    hosts: list[Host]
    provider: Provider
    url: URL
    key: str = ""

    @property
    def here(self) -> Host:
        return self.hosts[0]

    @property
    def there(self) -> Host:
        return self.hosts[-1]

    def turn(self, number: int) -> Host:
        """The hosts one after the other."""
        return self.hosts[number % len(self.hosts)]

    def new_key(self, **rights: Any) -> Json:
        """A key of the superuser, made here."""
        return dict(self.here.make("POST", "/api_key/", self.key, json={"name": new_name(), **rights}))

    def new_flow(self, data: Json, **fields: Any) -> str:
        """Store a flow here, and return its endpoint name, which is its name too."""
        name = new_name()
        self.here.make(
            "POST", "/flows/", self.key, json={"name": name, "endpoint_name": name, "data": data, **fields}
        )
        return name

    def new_variable(self, value: str) -> Json:
        body = {"name": new_name(), "value": value, "type": "Credential", "default_fields": []}
        return dict(self.here.make("POST", "/variables/", self.key, json=body))

    def model_flow(self, **fields: Any) -> str:
        """A flow that asks the model provider."""
        secret = flows.secret(value=self.new_variable("sk-of-nobody")["name"], variable=True)
        return self.new_flow(flows.chat_with_model(flows.language_model(key=secret)), **fields)

    def new_user(self) -> tuple[str, str]:
        """Make a user; returns id and name. The password is everybody's."""
        name = new_name()
        made = self.here.make("POST", "/users/", self.key, json={"username": name, "password": PASSWORD})
        self.here.make("PATCH", f"/users/{made['id']}", self.key, json={"is_active": True})
        return str(made["id"]), name


def new_name() -> str:
    """A name that nothing has yet."""
    return f"n{uuid.uuid4().hex[:16]}"


def new_address() -> str:
    """An address of loopback that nobody has sent from."""
    return f"127.{random.randint(1, 250)}.{random.randint(1, 250)}.{random.randint(2, 250)}"


def sign_in(host: Host, name: str, password: str = PASSWORD) -> Json:
    """Sign in from an address of its own, and return the tokens."""
    form = {"username": name, "password": password}
    return dict(host.make("POST", "/login", data=form, address=new_address()))


def text_of(answer: requests.Response) -> str:
    """What a run said."""
    assert answer.status_code == 200, answer.text
    return str(answer.json()["outputs"][0]["outputs"][0]["results"]["message"]["text"])


def events_of(answer: requests.Response) -> Iterator[Json]:
    """The messages of an open stream."""
    for line in answer.iter_lines(chunk_size=1):
        if line.startswith(b"data: {"):
            yield dict(json.loads(line[6:]))


def environment_of(url: URL, folder: Path, **more: str) -> dict[str, str]:
    """What a host is started with."""
    return {
        "LANGFLOW_DATABASE_URL": url.render_as_string(hide_password=False),
        "LANGFLOW_CONFIG_DIR": str(folder),
        "LANGFLOW_SECRET_KEY": SECRET,
        "LANGFLOW_SUPERUSER": SUPERUSER,
        "LANGFLOW_SUPERUSER_PASSWORD": PASSWORD,
        "LANGFLOW_LOG_LEVEL": "error",
        "KEYTURN_THREADS": "8",
        "KEYTURN_HEARTBEAT_SECONDS": "1",
        **more,
    }


@contextmanager
def started(hosts: list[Host], url: URL, provider: Provider) -> Iterator[Place]:
    """Start hosts at once, and sign the superuser in."""
    try:
        for host in hosts:
            host.start()
        for host in hosts:
            host.wait()
        place = Place(hosts, provider, url)
        token = sign_in(place.here, SUPERUSER)["access_token"]
        place.key = place.here.make("POST", "/api_key/", token=token, json={"name": "first"})["api_key"]
        credential = {"name": "OPENAI_API_KEY", "value": "sk-of-nobody", "type": "Credential", "default_fields": []}
        place.here.make("POST", "/variables/", place.key, json=credential)
        yield place
    finally:
        provider.go_on.set()
        for host in hosts:
            if host.process is not None:
                host.process.ask_to_stop()
        for host in hosts:
            if host.process is not None:
                host.process.stop()


#: Hosts, workers of each, database, where limits are counted.
SHAPES = {
    "1 x 4 on sqlite": (1, 4, "sqlite", "database"),
    "1 x 4 on postgresql": (1, 4, "postgresql", "database"),
    "2 x 2 on postgresql": (2, 2, "postgresql", "database"),
    "2 x 2 on postgresql with redis": (2, 2, "postgresql", "redis"),
}


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=pytest.mark.postgresql if "postgresql" in name else ()) for name in SHAPES],
)
def shape(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def servers(request: pytest.FixtureRequest, shape: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Servers that live as long as the file's tests of one shape."""
    count, workers, kind, limits = SHAPES[shape]
    root = tmp_path_factory.mktemp("hosts")
    more = {"LANGFLOW_WORKERS": str(workers)}
    if limits == "redis":
        more["KEYTURN_REDIS_URL"] = request.getfixturevalue("redis_url")
    with ExitStack() as stack:
        url = make_url(f"sqlite:///{root / 'keyturn.db'}")
        if kind == "postgresql":
            url = stack.enter_context(empty_database(request.getfixturevalue("postgresql_server")))
        provider = stack.enter_context(serving())
        more["KEYTURN_OPENAI_BASE_URL"] = provider.url
        folders = [root / f"host{number}" for number in range(count)]
        hosts = [Host(folder, environment_of(url, folder, **more)) for folder in folders]
        yield stack.enter_context(started(hosts, url, provider))


@pytest.fixture
def place(servers: Place) -> Iterator[Place]:
    """The servers, with a provider that answers at once."""
    provider = servers.provider
    provider.failures.clear()
    provider.requests.clear()
    provider.arrived.clear()
    provider.abandoned.clear()
    provider.go_on.set()
    yield servers
    provider.failures.clear()
    provider.go_on.set()
