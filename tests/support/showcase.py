"""A house that people live in: keys, variables, flows, users and four weeks of usage, for pictures and for tests."""

from __future__ import annotations

import json
import random
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import requests
from sqlalchemy import Engine, create_engine, insert, select, update
from sqlalchemy.orm import Session

from service.storage import ApiKey, Flow, KeyUsage, RunRow
from tests.support.provider import Provider, serving
from tests.support.server import ROOT, free_port, run, running
from tests.support.waiting import wait_until_it_answers

USERNAME, PASSWORD = "administrator", "securepassword"

#: name -> (what is asked for, uses, days since the last one); the later ones are the older ones
KEYS: dict[str, tuple[dict[str, Any], int, int]] = {
    "Web shop, production": ({"scopes": ["run"], "rate_limit": {"requests": 600, "window_seconds": 60}}, 48_213, 0),
    "Web shop, staging": ({"scopes": ["run"]}, 1_904, 1),
    "Nightly report": ({"scopes": ["run", "read"], "networks": ["203.0.113.0/24"]}, 412, 0),
    "Ada's laptop": ({"expires_at": "2099-12-31T23:59:59Z"}, 57, 12),
    "Old mobile app": ({}, 9_120, 64),
}
VARIABLES = (
    ("CITY", "Berlin", "Generic", []),
    ("SEARCH_API_KEY", "not-a-real-key", "Credential", ["Search API Key"]),
    ("SUPPORT_ADDRESS", "help@example.org", "Generic", ["Recipient"]),
)


@dataclass(frozen=True)
class House:
    """A running server; ``flows`` has the ids of its flows by endpoint name."""

    url: str
    key: str
    flows: dict[str, str]
    provider: Provider


@contextmanager
def furnished_house() -> Iterator[House]:
    """A running server with a life of four weeks."""
    with tempfile.TemporaryDirectory() as name, serving() as provider:
        folder, port = Path(name), free_port()
        own = {
            "LANGFLOW_CONFIG_DIR": name,
            "LANGFLOW_SUPERUSER": USERNAME,
            "LANGFLOW_SUPERUSER_PASSWORD": PASSWORD,
            # Tests sign in more often than people do.
            "LANGFLOW_RATE_LIMIT_ENABLED": "false",
            "OPENAI_API_KEY": "sk-not-a-real-key",
            "KEYTURN_OPENAI_BASE_URL": provider.url,
        }
        key = run(["keyturn", "api-key", "--plain"], folder, **own).stdout.strip()
        with running(["keyturn", "run", "--port", str(port), "--workers", "2"], folder, **own):
            url = f"http://127.0.0.1:{port}"
            wait_until_it_answers(url)
            engine = create_engine(f"sqlite:///{folder / 'keyturn.db'}")
            flows = furnish(url, key, engine)
            engine.dispose()
            yield House(url, key, flows, provider)


@dataclass(frozen=True)
class Caller:
    """The superuser of a running server."""

    url: str
    key: str

    def __call__(self, method: str, path: str, **more: Any) -> Any:
        answer = requests.request(
            method, f"{self.url}/api/v1{path}", headers={"x-api-key": self.key}, timeout=30, **more
        )
        assert answer.ok, (path, answer.text)
        return answer.json() if answer.content else None


def demo(name: str) -> dict[str, Any]:
    """A demo flow as a body."""
    return dict(json.loads((ROOT / "service" / "demo" / f"{name}.json").read_text()))


def furnish(url: str, key: str, engine: Engine) -> dict[str, str]:
    """Fill a server; returns the ids of its flows by their endpoint names."""
    call = Caller(url, key)
    made = {}
    for endpoint, name, of in (
        ("support", "Customer support", "chat"),
        ("greeter", "Greeter", "echo"),
        ("summary", "Meeting summary", "chat"),
    ):
        body = demo(of) | {"name": name, "endpoint_name": endpoint}
        made[endpoint] = call("POST", "/flows/", json=body)["id"]
    call("PATCH", f"/flows/{made['greeter']}", json={"mcp_enabled": True, "access_type": "PUBLIC"})
    missing = json.loads(json.dumps(demo("chat")).replace('"LanguageModelComponent"', '"VoiceCloner"'))
    made["voice"] = call("POST", "/flows/", json=missing | {"name": "Voice clone", "endpoint_name": "voice"})["id"]
    for name, value, kind, fields in VARIABLES:
        call("POST", "/variables/", json={"name": name, "value": value, "type": kind, "default_fields": fields})
    ids = {name: call("POST", "/api_key/", json={"name": name, **body})["id"] for name, (body, _, _) in KEYS.items()}
    call("PATCH", f"/api_key/{ids['Old mobile app']}", json={"is_active": False})
    for name in ("ada", "grace", "newcomer"):
        user = call("POST", "/users/", json={"username": name, "password": f"{name}-long-password"})
        if name != "newcomer":
            call("PATCH", f"/users/{user['id']}", json={"is_active": True})
    for text in ("Good morning!", "What can you do?"):
        call("POST", "/run/greeter", json={"input_value": text, "session_id": "a first look"})
    _live(engine, {name: uuid.UUID(one) for name, one in ids.items()})
    return made


def _live(engine: Engine, ids: dict[str, uuid.UUID]) -> None:
    """Four weeks of requests and runs; the same each time."""
    chance, now = random.Random(7), datetime.now(UTC)
    with Session(engine) as session:
        owner = session.scalars(select(ApiKey.user_id).where(ApiKey.id == next(iter(ids.values())))).one()
        flows = list(session.scalars(select(Flow.id).where(Flow.user_id == owner).order_by(Flow.name)))
        for age, (name, (_, uses, idle)) in enumerate(KEYS.items(), start=1):
            made, used = now - timedelta(days=age * 41), now - timedelta(days=idle, minutes=3)
            values = {"total_uses": uses, "last_used_at": used, "created_at": made}
            session.execute(update(ApiKey).where(ApiKey.id == ids[name]).values(values))
        for back in range(30):
            day = now - timedelta(days=back)
            busy = 0.45 if day.weekday() > 4 else 1.0
            for name, share in (("Web shop, production", 1.0), ("Web shop, staging", 0.2), ("Nightly report", 0.05)):
                count = round(busy * share * chance.uniform(1400, 2000))
                failed = round(count * chance.uniform(0.002, 0.03))
                rows = [{"key_id": ids[name], "day": day.date(), "status": status, "count": number}
                        for status, number in ((200, count - failed), (502, failed)) if number]  # fmt: skip
                session.execute(insert(KeyUsage), rows)
                runs = [_run(chance, owner, flows, ids[name], day) for _ in range(count // 40)]
                if runs:
                    session.execute(insert(RunRow), runs)
        session.commit()


def _run(
    chance: random.Random, owner: uuid.UUID, flows: list[uuid.UUID], key: uuid.UUID, day: datetime
) -> dict[str, Any]:
    return {
        "user_id": owner,
        "flow_id": chance.choice(flows[:3]),
        "key_id": key,
        "started_at": day,
        "duration": round(chance.lognormvariate(6.5, 0.6)),
        "outcome": "failed" if chance.random() < 0.015 else "done",
        "input_tokens": chance.randint(80, 900),
        "output_tokens": chance.randint(40, 400),
    }
