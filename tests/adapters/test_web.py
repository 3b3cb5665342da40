from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from service.adapters.web import GuardedClient
from service.domain.errors import AddressRefused, FetchFailed, RunTimedOut
from service.domain.ports import Cancellation, WebRequest
from tests.support.site import Page, Site, redirect, site, zipped


@pytest.fixture
def pages() -> Iterator[Site]:
    with site() as running:
        yield running


def client(pages: Site, *more: str, **options: object) -> GuardedClient:
    return GuardedClient([f"127.0.0.1:{pages.port}", *more], **options)  # type: ignore[arg-type]


def answers(*addresses: str) -> GuardedClient:
    """A client for which every name has these addresses."""
    return GuardedClient(resolve=lambda host, port: addresses)


def test_a_page_comes_back_with_its_status_headers_and_text(pages: Site) -> None:
    pages.pages["/a"] = Page("grün".encode("latin-1"), 203, "text/plain; charset=latin-1")
    answer = client(pages).send(WebRequest(f"{pages.url}/a?b=c"))
    assert (answer.status, answer.text(), answer.url) == (203, "grün", f"{pages.url}/a?b=c")
    assert answer.headers["content-type"].startswith("text/plain")


def test_a_body_and_headers_are_sent(pages: Site) -> None:
    pages.pages["/"] = Page(b"ok")
    client(pages).send(WebRequest(pages.url, "POST", {"X-Mine": "1", "Host": "evil.example"}, b"hello"))
    asked = pages.asked[0]
    assert (asked.method, asked.body, asked.headers["x-mine"]) == ("POST", b"hello", "1")
    assert asked.headers["host"] == f"127.0.0.1:{pages.port}"


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1/",
        "http://localhost/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:a00:1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://[2002:7f00:1::]/",
        "http://[::127.0.0.1]/",
        "http://[fe80::1%25eth0]/",
        "http://[fc00::1]/",
        "http://[fec0::1]/",
        "http://[4000::1]/",
        "http://[ff0e::1]/",
        "http://[64:ff9b:1::7f00:1]/",
        "http://\uff11\uff12\uff17.0.0.1/",
        "http://127\u30020\u30020\u30021/",
        "http://127.0.0.1\u3002/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0x7f.1/",
        "http://0177.0.0.1/",
        "http://127.1/",
        "http://127.0.0.1./",
        "http://0.0.0.0/",
        "http://10.0.0.1/",
        "http://172.16.0.1/",
        "http://192.168.1.1/",
        "http://100.64.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://168.63.129.16/metadata/",
        "http://192.0.0.192/",
        "http://[fd00:ec2::254]/",
        "http://224.0.0.1/",
        "http://255.255.255.255/",
        "http://user:secret@example.com/",
        "http://example.com\\@127.0.0.1/",
        "http://exa mple.com/",
        "http://example.com\r\nX: y/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "gopher://127.0.0.1/",
        "//127.0.0.1/",
        "http:///etc/passwd",
        "http://[::1/",
        "http://example.com:99999/",
        "javascript:alert(1)",
        "",
    ],
)
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    with pytest.raises(AddressRefused) as refused:
        GuardedClient().send(WebRequest(address))
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("addresses", [("10.0.0.1",), ("93.184.216.34", "10.0.0.1"), ("::ffff:10.0.0.1",)])
def test_a_name_that_leads_to_a_private_address_is_refused(addresses: tuple[str, ...]) -> None:
    with pytest.raises(AddressRefused, match=r"rebind\.example"):
        answers(*addresses).send(WebRequest("http://rebind.example/"))


def test_a_name_is_asked_for_once_and_its_first_answer_is_used(pages: Site) -> None:
    pages.pages["/"] = Page(b"here")
    given = iter([["127.0.0.1"], ["10.0.0.1"]])
    guarded = GuardedClient([f"good.example:{pages.port}"], resolve=lambda host, port: next(given))
    assert guarded.send(WebRequest(f"http://good.example:{pages.port}/")).content == b"here"
    assert next(given) == ["10.0.0.1"]
    assert pages.asked[0].headers["host"] == f"good.example:{pages.port}"


def test_a_listed_host_is_allowed_only_at_its_port(pages: Site) -> None:
    with pytest.raises(AddressRefused):
        GuardedClient(["127.0.0.1:1"]).send(WebRequest(pages.url))


def test_a_listed_network_is_allowed(pages: Site) -> None:
    pages.pages["/"] = Page(b"here")
    assert GuardedClient(["127.0.0.0/8"]).send(WebRequest(pages.url)).content == b"here"


def test_a_listed_network_does_not_open_the_clouds_metadata() -> None:
    with pytest.raises(AddressRefused):
        GuardedClient(["169.254.0.0/16"]).send(WebRequest("http://169.254.169.254/", timeout=1))


@pytest.mark.parametrize("address", ["169.254.169.254", "168.63.129.16"])
def test_a_listed_name_does_not_open_the_clouds_metadata(address: str) -> None:
    guarded = GuardedClient(["intranet.example"], resolve=lambda host, port: [address])
    with pytest.raises(AddressRefused):
        guarded.send(WebRequest("http://intranet.example/", timeout=1))


@pytest.mark.parametrize("name", ["metadata.google.internal", "METADATA.google.internal.", "instance-data"])
def test_a_name_of_the_clouds_metadata_is_refused_wherever_it_leads(name: str) -> None:
    with pytest.raises(AddressRefused):
        answers("93.184.216.34").send(WebRequest(f"http://{name}/"))


def test_a_name_of_the_clouds_metadata_is_allowed_when_it_is_listed(pages: Site) -> None:
    pages.pages["/"] = Page(b"here")
    guarded = client(pages, "metadata.google.internal", resolve=lambda host, port: ["127.0.0.1"])
    assert guarded.send(WebRequest(f"http://metadata.google.internal:{pages.port}/")).content == b"here"


def test_the_next_address_of_a_name_is_tried_where_the_first_takes_no_connection(pages: Site) -> None:
    pages.pages["/"] = Page(b"here")
    guarded = client(pages, "two.example", resolve=lambda host, port: ["127.0.0.2", "127.0.0.1"])
    assert guarded.send(WebRequest(f"http://two.example:{pages.port}/")).content == b"here"


def test_an_entry_of_the_list_that_is_neither_host_nor_network_is_refused() -> None:
    with pytest.raises(ValueError, match="neither a host nor a network"):
        GuardedClient(["http://intranet/"])


def test_an_unknown_name_is_told() -> None:
    with pytest.raises(FetchFailed, match=r"nowhere\.example is not known"):
        answers().send(WebRequest("http://nowhere.example/"))


def test_a_name_server_that_does_not_answer_runs_into_the_time_limit() -> None:
    answered = threading.Event()

    def wait(host: str, port: int) -> list[str]:
        answered.wait(30)
        return []

    try:
        with pytest.raises(RunTimedOut, match=r"name of slow\.example was not found in time"):
            GuardedClient(resolve=wait).send(WebRequest("http://slow.example/", timeout=0.1))
    finally:
        answered.set()


@pytest.fixture
def secure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A site with a certificate for good.example, which the machine trusts."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "good.example")])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(days=1), now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("good.example")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    public = certificate.public_bytes(Encoding.PEM)
    (tmp_path / "ca.pem").write_bytes(public)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "site.pem").write_bytes(private + public)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "site.pem")
    with site(context) as running:
        running.pages["/"] = Page(b"here")
        yield running


def test_a_certificate_is_checked_against_the_name_and_not_the_address(secure: Site) -> None:
    guarded = GuardedClient(["good.example"], resolve=lambda host, port: ["127.0.0.1"])
    assert guarded.send(WebRequest(f"https://good.example:{secure.port}/")).content == b"here"


def test_a_certificate_of_another_name_is_refused(secure: Site) -> None:
    guarded = GuardedClient(["other.example"], resolve=lambda host, port: ["127.0.0.1"])
    with pytest.raises(FetchFailed, match=r"other\.example gave no usable answer"):
        guarded.send(WebRequest(f"https://other.example:{secure.port}/"))
    assert not secure.asked


def test_a_certificate_that_nobody_has_signed_is_refused(secure: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    guarded = GuardedClient(["good.example"], resolve=lambda host, port: ["127.0.0.1"])
    with pytest.raises(FetchFailed, match=r"good\.example gave no usable answer"):
        guarded.send(WebRequest(f"https://good.example:{secure.port}/"))
    assert not secure.asked


def test_a_header_that_comes_twice_keeps_both_values(pages: Site) -> None:
    twice = b"HTTP/1.1 200 OK\r\nX-A: 1\r\nX-A: 2\r\ncontent-length: 0\r\n\r\n"
    pages.pages["/"] = Page(act=lambda handler: handler.wfile.write(twice) and None)
    assert client(pages).send(WebRequest(pages.url)).headers["x-a"] == "1, 2"


def test_a_redirect_is_followed_and_told(pages: Site) -> None:
    pages.pages |= {"/a": redirect("/b"), "/b": Page(b"there")}
    answer = client(pages).send(WebRequest(f"{pages.url}/a"))
    assert (answer.content, answer.url, answer.redirects) == (b"there", f"{pages.url}/b", (("/b", 302),))


def test_a_redirect_is_left_alone_when_it_is_not_wanted(pages: Site) -> None:
    pages.pages["/a"] = redirect("/b")
    assert client(pages).send(WebRequest(f"{pages.url}/a", follow_redirects=False)).status == 302


@pytest.mark.parametrize("to", ["http://10.0.0.1/", "http://169.254.169.254/", "file:///etc/passwd", "http://[::1]/"])
def test_a_redirect_to_where_flows_may_not_go_is_refused(pages: Site, to: str) -> None:
    pages.pages["/a"] = redirect(to)
    with pytest.raises(AddressRefused):
        client(pages).send(WebRequest(f"{pages.url}/a"))


def test_redirects_come_to_an_end(pages: Site) -> None:
    pages.pages["/a"] = redirect("/a")
    with pytest.raises(FetchFailed, match="more than 10 times"):
        client(pages).send(WebRequest(f"{pages.url}/a"))


def test_credentials_do_not_follow_a_redirect_to_another_origin(pages: Site) -> None:
    with site() as other:
        other.pages["/"] = Page(b"there")
        pages.pages["/a"] = redirect(f"{other.url}/", 307)
        headers = {"Authorization": "Bearer x", "X-Api-Key": "x", "Cookie": "x", "Accept": "text/html"}
        client(pages, f"127.0.0.1:{other.port}").send(WebRequest(f"{pages.url}/a", "POST", headers, b"secret"))
        asked = other.asked[0]
    assert not {"authorization", "x-api-key", "cookie"} & asked.headers.keys()
    assert (asked.headers["accept"], asked.body) == ("text/html", b"")


def test_see_other_becomes_a_get(pages: Site) -> None:
    pages.pages |= {"/a": redirect("/b", 303), "/b": Page(b"there")}
    client(pages).send(WebRequest(f"{pages.url}/a", "POST", body=b"x"))
    assert (pages.asked[1].method, pages.asked[1].body) == ("GET", b"")


def test_an_answer_is_cut_off_where_it_is_too_large(pages: Site) -> None:
    pages.pages["/"] = Page(b"x" * 100_000)
    with pytest.raises(FetchFailed, match="larger than 50000 bytes"):
        client(pages, max_bytes=50_000).send(WebRequest(pages.url))


def test_a_compressed_answer_counts_as_large_as_it_unpacks(pages: Site) -> None:
    pages.pages |= {"/small": zipped(b"y" * 1000), "/bomb": zipped(b"\0" * 20_000_000)}
    assert client(pages).send(WebRequest(f"{pages.url}/small")).content == b"y" * 1000
    with pytest.raises(FetchFailed, match="larger than"):
        client(pages, max_bytes=1_000_000).send(WebRequest(f"{pages.url}/bomb"))


def drip(handler: BaseHTTPRequestHandler, pages: Site) -> None:
    """A header now and then, for ever: every single read of it succeeds."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    while not pages.go_on.wait(0.05):
        handler.wfile.write(b"X-More: 1\r\n")
        handler.wfile.flush()


def test_a_server_that_drips_runs_into_the_time_limit(pages: Site) -> None:
    pages.go_on.clear()
    pages.pages["/"] = Page(act=lambda handler: drip(handler, pages))
    with pytest.raises(RunTimedOut, match="did not answer in time"):
        client(pages).send(WebRequest(pages.url, timeout=0.3))


def test_the_operators_time_limit_holds_against_the_flows(pages: Site) -> None:
    pages.go_on.clear()
    pages.pages["/"] = Page(act=lambda handler: drip(handler, pages))
    with pytest.raises(RunTimedOut):
        client(pages, timeout=0.2).send(WebRequest(pages.url, timeout=60))


def test_a_run_that_is_stopped_hangs_up(pages: Site) -> None:
    pages.go_on.clear()
    begun, cancellation = threading.Event(), Cancellation()

    def wait(handler: BaseHTTPRequestHandler) -> None:
        begun.set()
        pages.go_on.wait(30)

    def stop() -> None:
        begun.wait(10)
        cancellation.set()

    pages.pages["/"] = Page(act=wait)
    threading.Thread(target=stop).start()
    with pytest.raises(FetchFailed):
        client(pages).send(WebRequest(pages.url, timeout=30, cancellation=cancellation))


@pytest.mark.parametrize("headers", [{"X-A": "1\r\nX-B: 2"}, {"X A": "1"}, {"": "1"}, {"X-A": "\x00"}])
def test_a_header_that_could_smuggle_is_refused(pages: Site, headers: dict[str, str]) -> None:
    with pytest.raises(FetchFailed, match="cannot be sent"):
        client(pages).send(WebRequest(pages.url, headers=headers))


def test_a_server_that_is_not_there_is_told() -> None:
    with site() as gone:
        address, allowed = gone.url, f"127.0.0.1:{gone.port}"
    with pytest.raises(FetchFailed, match="no usable answer"):
        GuardedClient([allowed]).send(WebRequest(address))


def test_an_answer_that_is_no_http_is_told(pages: Site) -> None:
    pages.pages["/"] = Page(act=lambda handler: handler.wfile.write(b"220 mail.example ESMTP\r\n") and None)
    with pytest.raises(FetchFailed, match="no usable answer"):
        client(pages).send(WebRequest(pages.url))


def test_proxies_of_the_environment_are_not_used(pages: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    pages.pages["/"] = Page(b"here")
    assert client(pages).send(WebRequest(pages.url)).content == b"here"
