"""nginx as an operator has it: Debian's program with the shipped file, of which places alone are exchanged."""

from __future__ import annotations

import datetime
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import urllib3
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.server import ROOT, free_port
from tests.support.waiting import until

SHIPPED = ROOT / "docs" / "deployment" / "nginx.conf"
NAME = "keyturn.example"
#: What nginx.conf around the file says on Debian, as far as it matters here.
_AROUND = """
{user}
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/start.log;
worker_processes 1;
events {{ worker_connections 256; }}
http {{
    default_type application/octet-stream;
    access_log {folder}/other.log;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    include {folder}/keyturn.conf;
}}
"""


def program() -> str | None:
    """Where nginx is; None: nowhere."""
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def wanted() -> str:
    """Return nginx, or skip the test; under KEYTURN_TEST_STRICT fail it."""
    found = program()
    if found is None:
        reason = "no nginx on this machine"
        pytest.fail(reason) if os.environ.get("KEYTURN_TEST_STRICT") == "1" else pytest.skip(reason)
    return found


@dataclass
class Nginx:
    """A running nginx, and a client outside of it.

    Args:
        folder: where its files are, the logs too.
        https: the port of TLS.
        http: the other port.
    """

    folder: Path
    https: int
    http: int

    def __post_init__(self) -> None:
        self.pool = urllib3.HTTPSConnectionPool(
            "127.0.0.1", self.https, ca_certs=str(self.folder / "fullchain.pem"), server_hostname=NAME,
            assert_hostname=NAME, maxsize=20, retries=False, timeout=urllib3.Timeout(60),
        )  # fmt: skip

    @property
    def origin(self) -> str:
        return f"https://{NAME}:{self.https}"

    def ask(self, method: str, path: str, headers: dict[str, str] | None = None, **kwargs: Any) -> Any:
        """Send a request as a client of the name; ``preload_content=False`` leaves a stream to be read."""
        named = {"Host": f"{NAME}:{self.https}", **(headers or {})}
        return self.pool.request(method, path, headers=named, **kwargs)

    def ask_in_the_clear(self, path: str, **kwargs: Any) -> Any:
        """Send a request to the other port."""
        with urllib3.PoolManager(retries=False, timeout=60) as pool:
            return pool.request("GET", f"http://127.0.0.1:{self.http}{path}", redirect=False, **kwargs)

    def logs(self) -> str:
        """Everything that has been written down."""
        return "".join(file.read_text() for file in sorted(self.folder.glob("*.log")))


@contextmanager
def serving(folder: Path, socket: Path) -> Iterator[Nginx]:
    """Run nginx in a folder in front of a socket."""
    nginx = wanted()
    _certificate(folder)
    made = Nginx(folder, free_port(), free_port())
    # Its children belong to nobody otherwise, who does not reach a socket in a folder of root's.
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(_AROUND.format(folder=folder, user=user))
    (folder / "keyturn.conf").write_text(_with_places(SHIPPED.read_text(), made, socket))
    process = subprocess.Popen([nginx, "-p", str(folder), "-c", str(folder / "nginx.conf")])
    try:
        until(lambda: process.poll() is not None or _answers(made), seconds=60)
        yield made
    finally:
        made.pool.close()
        process.terminate()
        process.wait(30)


def _with_places(text: str, made: Nginx, socket: Path) -> str:
    """Exchange addresses, ports and paths; a place that the file no longer has fails the test."""
    places = {
        "unix:/run/keyturn/http.sock": f"unix:{socket}",
        "listen 80 ": f"listen 127.0.0.1:{made.http} ",
        "listen 443 ": f"listen 127.0.0.1:{made.https} ",
        "    listen [::]:80 default_server;\n": "",
        "    listen [::]:443 ssl http2 default_server;\n": "",
        "    listen [::]:443 ssl http2;\n": "",
        f"/etc/letsencrypt/live/{NAME}/": f"{made.folder}/",
        "/var/log/nginx/": f"{made.folder}/",
        "/var/www/html": f"{made.folder}/acme",
    }
    for place, ours in places.items():
        assert place in text, place
        text = text.replace(place, ours)
    return text


def _answers(made: Nginx) -> bool:
    try:
        return bool(made.ask_in_the_clear("/api/").status == 403)
    except urllib3.exceptions.HTTPError:
        return False


def _certificate(folder: Path) -> None:
    """A certificate of its own making for the name."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "fullchain.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "privkey.pem").write_bytes(private)
