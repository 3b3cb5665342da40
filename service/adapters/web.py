"""The guarded HTTP client: the one way out for addresses that come from a flow, a caller or a model.

An address is parsed strictly, resolved once, and the connection goes to that very result, so that a second answer of
the name server changes nothing. Only addresses of the public internet may be reached unless the operator lists more
(KEYTURN_WEB_ALLOWED_HOSTS). Redirects are followed here, one by one, each checked like the first. Environment proxies
are not used, nothing is kept between two requests. The rules answer the SSRF advisories of this field.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, ReadTimeoutError
from urllib3.response import HTTPResponse

from service.adapters.names import Resolve, resolve, resolved_in_time
from service.domain.errors import AddressRefused, FetchFailed, RunTimedOut
from service.domain.ports import Cancellation, WebRequest, WebResponse

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

SETTING = "KEYTURN_WEB_ALLOWED_HOSTS"
MAX_REDIRECTS = 10
_PORTS = {"http": 80, "https": 443}
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
#: Control characters, blanks and backslashes: two parsers may read such an address differently.
_ODD = re.compile(r"[\x00-\x20\x7f\\]")
_HOST = re.compile(r"[a-z0-9]([a-z0-9_-]{0,62}\.)*[a-z0-9_-]{0,62}|[0-9a-f:.]+")
#: 127.1, 0x7f.0.0.1, 0177.0.0.1 and 2130706433 all mean 127.0.0.1 to some resolver.
_NUMERIC = re.compile(r"(0x[0-9a-f]*|\d+)(\.(0x[0-9a-f]*|\d+))*\.?")
#: Only these headers follow a redirect to another origin; any other could be a credential.
_HARMLESS = frozenset({"accept", "accept-language", "user-agent"})
#: Where clouds answer with credentials; reachable only when listed literally. Azure's is a public address.
_METADATA = frozenset(
    map(
        ipaddress.ip_address,
        (
            "169.254.169.254", "169.254.170.2", "169.254.170.23", "100.100.100.200", "168.63.129.16", "192.0.0.192",
            "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254",
        ),
    )
)  # fmt: skip
_METADATA_NAMES = frozenset({
    "metadata", "metadata.goog", "metadata.google.internal", "metadata.azure.internal", "metadata.tencentyun.com",
    "instance-data", "instance-data.ec2.internal",
})  # fmt: skip
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
#: All of the public IPv6 internet; the rest is reserved, site-local or not yet given to anybody.
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
_CHUNK = 65_536
#: Seconds for one address of a name, so that a dead one leaves time for the next.
_CONNECT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class _Target:
    """A checked address: what to ask for, of whom, and over which connection."""

    scheme: str
    host: str
    port: int
    path: str
    addresses: tuple[str, ...]

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}"

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> tuple[str, str, int]:
        return self.scheme, self.host, self.port


class GuardedClient:
    """Implements ``domain.ports.WebClient``; safe to use from many threads.

    Args:
        allowed: hosts (``intranet``, ``intranet:8080``), addresses and networks (``10.0.0.0/8``) that may be reached
            although they are not public.
        max_bytes: largest answer, after decompression.
        timeout: longest time for one request with all its redirects, in seconds.
        resolve: gives the addresses of a name; asked once for each hop.
    """

    def __init__(
        self, allowed: Iterable[str] = (), *, max_bytes: int = 10_000_000, timeout: float = 60.0,
        resolve: Resolve = resolve,
    ) -> None:  # fmt: skip
        self._hosts, self._networks = _parsed(allowed)
        self._max_bytes, self._timeout, self._resolve = max_bytes, timeout, resolve
        self._tls = ssl.create_default_context()

    def send(self, request: WebRequest) -> WebResponse:
        """Send a request; see ``domain.ports.WebClient``."""
        deadline = time.monotonic() + min(request.timeout, self._timeout)
        method, body, headers = request.method.upper(), request.body, _checked_headers(request.headers)
        target = self._target(request.url, deadline)
        history: list[tuple[str, int]] = []
        while True:
            status, found, content = self._exchange(target, method, headers, body, deadline, request.cancellation)
            location = found.get("location")
            if status not in _REDIRECTS or location is None or not request.follow_redirects:
                return WebResponse(status, found, content, target.url, tuple(history))
            history.append((location, status))
            if len(history) > MAX_REDIRECTS:
                raise FetchFailed(f"{target.host} redirects more than {MAX_REDIRECTS} times.")
            following = self._target(urljoin(target.url, location), deadline)
            if following.origin != target.origin:
                headers = {name: value for name, value in headers.items() if name.lower() in _HARMLESS}
                body = None
            if status == 303 or (status in (301, 302) and method == "POST"):
                method, body = "GET", None
            target = following

    def _target(self, url: str, deadline: float) -> _Target:
        """Parse, resolve and check an address.

        Raises:
            AddressRefused: it may not be reached.
            FetchFailed: its name is unknown.
            RunTimedOut: the name server did not answer in time.
        """
        scheme, host, port, path = _split(url)
        addresses = self._addresses(host, port, deadline)
        if not addresses:
            raise FetchFailed(f"The host {host} is not known.")
        for address in addresses:
            # One bad address among good ones is refused, too: the name server must not choose which is used.
            self._check(host, port, ipaddress.ip_address(address.partition("%")[0]))
        return _Target(scheme, host, port, path, tuple(addresses))

    def _addresses(self, host: str, port: int, deadline: float) -> list[str]:
        try:
            return resolved_in_time(host, port, deadline - time.monotonic(), self._resolve)
        except TimeoutError:
            raise RunTimedOut(f"The name of {host} was not found in time.") from None

    def _check(self, host: str, port: int, address: Address) -> None:
        listed = self._lists(host, port)
        meant = [address, *_embedded(address)]
        if host in _METADATA_NAMES or any(one in _METADATA for one in meant):
            # Another name that is listed does not count: whoever serves it could point it here.
            if not self._lists(str(address), port) and not (host in _METADATA_NAMES and listed):
                raise _refused(host)
        elif not listed and not all(_is_public(one) or any(one in net for net in self._networks) for one in meant):
            raise _refused(host)

    def _lists(self, host: str, port: int) -> bool:
        return host in self._hosts or f"{host}:{port}" in self._hosts

    def _exchange(
        self,
        target: _Target,
        method: str,
        headers: Mapping[str, str],
        body: bytes | None,
        deadline: float,
        cancellation: Cancellation | None,
    ) -> tuple[int, dict[str, str], bytes]:
        """One request on one connection."""
        sent = {"Accept-Encoding": "gzip, deflate", **headers, "Host": target.authority}
        try:
            with (
                closing(self._connected(target, deadline)) as connection,
                _ended_in_time(connection.sock, deadline, cancellation),
            ):
                connection.request(method, target.path, body=body, headers=sent, preload_content=False)
                response = connection.getresponse()
                found = {name.lower(): response.headers[name] for name in response.headers}
                content = self._read(response, target.host, deadline)
        except (HTTPError, HTTPException, OSError, ValueError) as error:
            late = isinstance(error, TimeoutError | ReadTimeoutError | ConnectTimeoutError)
            if time.monotonic() >= deadline or (late and not isinstance(error, NewConnectionError)):
                raise RunTimedOut(f"{target.host} did not answer in time.") from None
            raise FetchFailed(f"{target.host} gave no usable answer ({type(error).__name__}).") from None
        if time.monotonic() >= deadline:
            raise RunTimedOut(f"{target.host} did not answer in time.")  # what was hung up may look complete
        if cancellation is not None and cancellation.is_set:
            raise FetchFailed(f"The request to {target.host} was given up.")
        return response.status, found, content

    def _connected(self, target: _Target, deadline: float) -> HTTPConnection:
        """A connection to the first of the checked addresses that takes one.

        Raises:
            HTTPError, OSError: none does, or its certificate is not good.
            RunTimedOut: the deadline has passed.
        """
        *others, last = target.addresses
        for address in others:
            try:
                return self._connection(target, address, deadline)
            except (NewConnectionError, ConnectTimeoutError):
                continue
        return self._connection(target, last, deadline)

    def _connection(self, target: _Target, address: str, deadline: float) -> HTTPConnection:
        connection = self._unconnected(target, address, min(_left(target.host, deadline), _CONNECT_SECONDS))
        try:
            connection.connect()
            connection.sock.settimeout(_left(target.host, deadline))
        except BaseException:
            connection.close()
            raise
        return connection

    def _unconnected(self, target: _Target, address: str, seconds: float) -> HTTPConnection:
        if target.scheme == "http":
            return HTTPConnection(address, target.port, timeout=seconds)
        return HTTPSConnection(
            address, target.port, timeout=seconds, ssl_context=self._tls, server_hostname=target.host,
            assert_hostname=target.host,
        )  # fmt: skip

    def _read(self, response: HTTPResponse, host: str, deadline: float) -> bytes:
        """The decompressed body; cut off as soon as it is too large, so that a small bomb stays small."""
        content = bytearray()
        while chunk := response.read1(_CHUNK, decode_content=True):
            content += chunk
            if len(content) > self._max_bytes:
                raise FetchFailed(f"The answer of {host} is larger than {self._max_bytes} bytes.")
            if time.monotonic() > deadline:
                raise RunTimedOut(f"{host} did not answer in time.")
        return bytes(content)


def _left(host: str, deadline: float) -> float:
    """Seconds until the deadline.

    Raises:
        RunTimedOut: it has passed.
    """
    left = deadline - time.monotonic()
    if left <= 0:
        raise RunTimedOut(f"{host} did not answer in time.")
    return left


@contextmanager
def _ended_in_time(connection: Any, deadline: float, cancellation: Cancellation | None) -> Iterator[None]:
    """Hang up at the deadline or when the run is stopped: a server that drips would keep every read alive."""

    def hang_up() -> None:
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(max(0.0, deadline - time.monotonic()), hang_up)
    timer.daemon = True
    timer.start()
    try:
        with (cancellation or Cancellation()).interrupting(hang_up):
            yield
    finally:
        timer.cancel()


def _split(url: str) -> tuple[str, str, int, str]:
    """Scheme, host, port and path of an address, in the one form that is used from here on.

    Raises:
        AddressRefused: not http(s), or written in a way that hides where it leads.
    """
    if _ODD.search(url) or len(url) > 8000:
        raise AddressRefused("The address holds characters that no address may have.")
    try:
        parts = urlsplit(url)
        port = parts.port
        host = parts.hostname or ""
        host = (host if host.isascii() else host.encode("idna").decode()).rstrip(".")
    except (ValueError, UnicodeError):
        raise AddressRefused("The address cannot be read.") from None
    scheme = parts.scheme.lower()
    if scheme not in _PORTS or not host:
        raise AddressRefused("Only http and https addresses can be reached.")
    if parts.username is not None or parts.password is not None:
        raise AddressRefused("An address with a user name in it is not reached.")
    host = host.lower()
    if "%" in host or not _HOST.fullmatch(host) or (_NUMERIC.fullmatch(host) and not _is_dotted(host)):
        raise _refused(host)
    path = urlunsplit(("", "", quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._"), _query(parts.query), ""))
    return scheme, host, port or _PORTS[scheme], path


def _query(text: str) -> str:
    return quote(text, safe="/%:@!$&'()*+,;=~-._?[]")


def _is_dotted(host: str) -> bool:
    try:
        return str(ipaddress.IPv4Address(host)) == host
    except ValueError:
        return False


def _embedded(address: Address) -> list[Address]:
    """The IPv4 addresses that an IPv6 address leads to."""
    if isinstance(address, ipaddress.IPv4Address):
        return []
    found: list[Address | None] = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _NAT64 or int(address) >> 32 == 0:
        found.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return [one for one in found if one is not None]


def _is_public(address: Address) -> bool:
    mapped = getattr(address, "ipv4_mapped", None)
    if mapped is not None or (isinstance(address, ipaddress.IPv6Address) and address in _NAT64):
        return True  # judged by the IPv4 address in it
    if isinstance(address, ipaddress.IPv6Address) and address not in _GLOBAL_UNICAST:
        return False
    return address.is_global and not address.is_multicast


def _refused(host: str) -> AddressRefused:
    return AddressRefused(
        f"The host {host[:200]} is not one that flows of this server may reach. "
        f"The operator can allow it in {SETTING}."
    )


def _checked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers, without those that belong to the connection.

    Raises:
        FetchFailed: a name or a value could smuggle in something else.
    """
    kept = {}
    for name, value in headers.items():
        if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name) or re.search(r"[\r\n\x00]", value):
            raise FetchFailed(f"The header {name[:50]!r} cannot be sent.")
        if name.lower() not in ("host", "content-length", "transfer-encoding", "connection", "accept-encoding"):
            kept[name] = value
    return kept


def _parsed(allowed: Iterable[str]) -> tuple[frozenset[str], tuple[Network, ...]]:
    """Hosts and networks of the operator's list.

    Raises:
        ValueError: an entry is neither.
    """
    hosts, networks = set(), []
    for entry in allowed:
        text = entry.strip().lower().rstrip(".")
        try:
            network = ipaddress.ip_network(text)
        except ValueError:
            if not re.fullmatch(r"[a-z0-9_.-]+(:\d{1,5})?", text):
                raise ValueError(f"{entry[:80]!r} is neither a host nor a network") from None
            hosts.add(text)
            continue
        if network.num_addresses == 1:
            hosts.add(str(network.network_address))
        networks.append(network)
    return frozenset(hosts), tuple(networks)
