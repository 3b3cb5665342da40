"""Waiting for a server without sleeping: the client tries again while nobody listens."""

from __future__ import annotations

import requests
from urllib3.util import Retry


def wait_until_it_answers(url: str) -> None:
    """Wait for the first answer of a server that is starting."""
    with requests.Session() as session:
        session.mount(url, requests.adapters.HTTPAdapter(max_retries=Retry(total=10, connect=10, backoff_factor=0.1)))
        assert session.get(f"{url}/health", timeout=30).json() == {"status": "ok"}
