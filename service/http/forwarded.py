"""The address and the scheme that a trusted proxy tells of its client.

An address goes into the audit trail, into limits and into every line of the log, so only what is one is taken from a
header that anybody can have begun to write. Everything else counts as not said, and the peer's own address stays.
Host and prefix are never taken from a proxy's header: nothing here needs them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

#: Where the peer's own address stays once a proxy has told its client's; no header of a client ends up there.
PEER = "keyturn.peer"
#: The longest text of an address, with brackets and a port.
_LONGEST = 64
#: How proxies write an address with its port: ``[2001:db8::1]:443`` and ``203.0.113.9:443``.
_BRACKETS = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::\d{1,5})?")
_WITH_PORT = re.compile(r"(\d{1,3}(?:\.\d{1,3}){3}):\d{1,5}")


class Forwarded:
    """Puts the client's address and scheme, as the outermost trusted proxy saw them, where the peer's are.

    Args:
        app: gets the request then.
        proxies: how many proxies stand in front, each of which appends to the headers; at least 1.
    """

    def __init__(self, app: WSGIApplication, proxies: int) -> None:
        self._app, self._proxies = app, proxies

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        address = address_of(self._told(environ.get("HTTP_X_FORWARDED_FOR", "")))
        if address is not None:
            environ[PEER], environ["REMOTE_ADDR"] = environ.get("REMOTE_ADDR", ""), address
        scheme = self._told(environ.get("HTTP_X_FORWARDED_PROTO", "")).lower()
        if scheme in {"http", "https"}:
            environ["wsgi.url_scheme"] = scheme
        return self._app(environ, start_response)

    def _told(self, header: str) -> str:
        """The entry of the outermost trusted proxy; "" where fewer have written one."""
        entries = header.rsplit(",", self._proxies)[-self._proxies :]
        return entries[0].strip() if len(entries) == self._proxies else ""


def address_of(text: str) -> str | None:
    """Return an address in its usual form; None for whatever is none.

    A port and brackets are left out, and an IPv4 address within IPv6 is told as IPv4, so that one client has one
    name. A zone (``fe80::1%eth0``) is refused: it can hold any text.
    """
    if not 0 < len(text) <= _LONGEST or "%" in text:
        return None
    inner = _BRACKETS.fullmatch(text) or _WITH_PORT.fullmatch(text)
    try:
        found = ip_address(inner[1] if inner else text)
    except ValueError:
        return None
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return str(found)
