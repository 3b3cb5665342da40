"""A web site on loopback: answers by path, and remembers what it was asked."""

from __future__ import annotations

import gzip
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Asked:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Page:
    """An answer; ``act`` may write something else to the socket instead."""

    content: bytes = b""
    status: int = 200
    kind: str = "text/html"
    headers: dict[str, str] = field(default_factory=dict)
    act: Callable[[BaseHTTPRequestHandler], None] | None = None


@dataclass
class Site:
    """Pages by path, without the query."""

    pages: dict[str, Page] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    port: int = 0
    #: Cleared by a test that wants an answer to be slow; set again at the end.
    go_on: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or each answer waits 40 ms for an acknowledgement
    site: Site

    def log_message(self, format: str, *args: object) -> None:
        """Keep the tests' output clean."""

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.site.asked.append(Asked(self.command, self.path, headers, body))
        page = self.site.pages.get(self.path.partition("?")[0], Page(b"not here", 404))
        try:
            if page.act is not None:
                page.act(self)
                return
            self.send_response(page.status)
            for name, value in {"content-type": page.kind, **page.headers}.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(page.content)))
            self.end_headers()
            self.wfile.write(page.content)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815 - the base class looks for these


def redirect(to: str, status: int = 302) -> Page:
    """A page that leads elsewhere."""
    return Page(b"", status, headers={"location": to})


def zipped(content: bytes) -> Page:
    """A compressed page."""
    return Page(gzip.compress(content), headers={"content-encoding": "gzip"})


@contextmanager
def site(tls: ssl.SSLContext | None = None) -> Iterator[Site]:
    """A running site; with ``tls``, one that speaks HTTPS."""
    made = Site()
    made.go_on.set()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"site": made}))
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    made.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.go_on.set()
        server.shutdown()
        server.server_close()
        thread.join(5)
