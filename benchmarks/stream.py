"""How long a streamed run's first token takes, beside the provider's own: ``python -m benchmarks.stream``.

A server with the demo's chat flow and a provider on loopback; each is asked in turn, and both times begin with the
request. The difference is what Keyturn adds: authentication, look-ups, the provider's SDK, and the stream.
"""

from __future__ import annotations

import http.client
import json
import socket
import statistics
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.provider import serving
from tests.support.server import BIN, ROOT, Process, clean_environment, free_port

ROUNDS = 200
PASSWORD = "bench-password"


def first_byte_of(port: int, path: str, body: object, headers: dict[str, str], mark: bytes) -> float:
    """Seconds from the request until ``mark`` has arrived."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    begun = time.perf_counter()
    connection.request("POST", path, json.dumps(body), {"content-type": "application/json", **headers})
    answer = connection.getresponse()
    seen = b""
    while mark not in seen:
        piece = answer.read1(65536)
        if not piece:
            raise SystemExit(f"{path} ended without {mark!r}: {seen[:300]!r}")
        seen += piece
    seconds = time.perf_counter() - begun
    answer.read()
    connection.close()
    return seconds


def answers(port: int) -> None:
    """Wait until the server takes connections."""
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit("the server did not start")


def new_key(port: int) -> str:
    """Sign in and make a key."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    form = f"username=langflow&password={PASSWORD}"
    connection.request("POST", "/api/v1/login", form, {"content-type": "application/x-www-form-urlencoded"})
    token = json.load(connection.getresponse())["access_token"]
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    connection.request("POST", "/api/v1/api_key/", "{}", headers)
    return str(json.load(connection.getresponse())["api_key"])


def main() -> None:
    """Ask both in turn, and print the medians."""
    with tempfile.TemporaryDirectory() as folder, serving() as provider:
        port = free_port()
        environment = clean_environment(
            LANGFLOW_CONFIG_DIR=folder, LANGFLOW_PORT=str(port), LANGFLOW_SUPERUSER_PASSWORD=PASSWORD,
            KEYTURN_DEMO_FLOWS="true", KEYTURN_OPENAI_BASE_URL=provider.url, OPENAI_API_KEY="sk-bench",
        )  # fmt: skip
        server = Process([str(BIN / "keyturn"), "run", "--backend-only"], Path(ROOT), environment)
        try:
            server.wait_for("Pages")
            answers(port)
            key = {"x-api-key": new_key(port)}
            asked = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
            direct = int(urlsplit(provider.url).port or 0)
            ours, theirs = [], []
            for _ in range(ROUNDS):
                run = "/api/v1/run/keyturn-chat?stream=true"
                ours.append(first_byte_of(port, run, {"input_value": "hi"}, key, b'"token"'))
                theirs.append(first_byte_of(direct, "/v1/chat/completions", asked, {}, b'"content"'))
        finally:
            server.stop()
    ours, theirs = ours[1:], theirs[1:]  # the first one imports the provider's SDK
    for name, seconds in (("Keyturn", ours), ("the provider", theirs)):
        late = sorted(seconds)[int(len(seconds) * 0.99)]
        print(
            f"first token of {name:14} median {statistics.median(seconds) * 1e3:6.2f} ms   p99 {late * 1e3:6.2f} ms"
        )


if __name__ == "__main__":
    main()
