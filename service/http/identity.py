"""Who sent this request: reads every carrier of a credential, and asks the domain.

Order (Langflow's): bearer, cookie, query, header; the first decides. Credentials of two different users in
one request are refused, since an attacker could otherwise choose which one a check looks at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Literal

from flask import Request
from sqlalchemy.orm import Session

from service.domain import accounts, key_records, key_text
from service.domain.errors import CredentialRefused, KeyRefused, TokenRefused
from service.domain.identity import Identity
from service.http.db import Services, session

KEY_NAME = "x-api-key"
ACCESS_COOKIE, REFRESH_COOKIE, KEY_COOKIE = "access_token_lf", "refresh_token_lf", "apikey_tkn_lflw"
_ACCESS_COOKIE = re.compile(rf"(?:^|;)\s*{ACCESS_COOKIE}\s*=")


@dataclass(frozen=True, slots=True)
class Presented:
    """A credential as it came."""

    carrier: Literal["bearer", "cookie", "query", "header"]
    value: str
    is_key: bool


def presented(request: Request) -> Iterator[Presented]:
    """Yield the credentials of a request in the order in which they decide."""
    # Read from the WSGI environment: this runs for every request, and each view of it costs microseconds.
    environ = request.environ
    authorization: str | None = environ.get("HTTP_AUTHORIZATION")
    if authorization is not None:
        scheme, _, value = authorization.partition(" ")
        if scheme.lower() == "bearer":
            value = value.strip()
            # Many tools can send nothing but a bearer token, so an API key is welcome there too.
            yield Presented("bearer", value, value.startswith(key_text.PREFIX))
    if _ACCESS_COOKIE.search(environ.get("HTTP_COOKIE", "")):
        # Each of several: a page of a sibling domain can add one. One that cannot be read is bad and not absent.
        for cookie in request.cookies.getlist(ACCESS_COOKIE) or [""]:
            yield Presented("cookie", cookie, is_key=False)
    if environ.get("QUERY_STRING"):
        for value in request.args.getlist(KEY_NAME):
            yield Presented("query", value, is_key=True)
    header: str | None = environ.get("HTTP_X_API_KEY")
    if header is not None:
        yield Presented("header", header, is_key=True)


def has_key_in_header(request: Request) -> bool:
    """Say whether a request that was admitted brought an API key in a header.

    A page of another site can have a browser send forms and texts here, with cookies and a query of its choice, and
    whoever is let in without a credential sends nothing else. A header it cannot add without asking first (CORS).
    """
    return any(credential.is_key and credential.carrier in {"bearer", "header"} for credential in presented(request))


def identify(request: Request, services: Services, *, keys_only: bool) -> Identity | None:
    """Return the caller, or None when the request carries no credential that counts here.

    Args:
        request: the request.
        services: where to ask.
        keys_only: the endpoint takes API keys only; login tokens do not count.

    Raises:
        CredentialRefused: a credential is there and is not good, or two belong to different users, or are two keys.
        TokenRefused: the same, for a login token.
    """
    environ = request.environ
    key: str | None = environ.get("HTTP_X_API_KEY")
    if not (
        key is None or "HTTP_AUTHORIZATION" in environ or "HTTP_COOKIE" in environ or environ.get("QUERY_STRING")
    ):
        # Nearly every request: a key in its header, and nothing beside it that could contradict it.
        return _by_key(key, services, request.remote_addr)
    found: list[Identity] = []
    for credential in presented(request):
        if keys_only and not credential.is_key:
            continue
        found.append(_judge(credential, services, request.remote_addr))
    if len(found) > 1:
        _refuse_contradiction(found)
    return found[0] if found else None


def _refuse_contradiction(found: list[Identity]) -> None:
    if len({identity.user_id for identity in found}) > 1:
        raise CredentialRefused("The credentials of this request belong to different users")
    # One of them could be limited and the other not: which one counts must not depend on its place.
    if len({identity.key_id for identity in found if identity.key_id is not None}) > 1:
        raise CredentialRefused("This request carries two different API keys")


def lasting(request: Request, services: Services) -> Callable[[], bool]:
    """Return what says whether the credentials of a request are still good, for an answer that outlives the request.

    It asks the same as the door, needs no request any more, and holds no connection between two looks. A request
    without any credential stays good.
    """
    sent, address = list(presented(request)), request.remote_addr

    def are_good() -> bool:
        with Session(services.engine) as own:
            try:
                for credential in sent:
                    _judge(credential, services, address, lambda: own)
            except CredentialRefused:
                return False
        return True

    return are_good


def _judge(
    credential: Presented, services: Services, address: str | None, session: Callable[[], Session] = session
) -> Identity:
    if credential.is_key:
        return _by_key(credential.value, services, address)
    if not accounts.is_login_token(credential.value):
        raise TokenRefused("Invalid token")
    return Identity(accounts.account_of(session(), credential.value, services.now()), "session")


def _by_key(value: str, services: Services, address: str | None) -> Identity:
    if len(value) > key_text.LENGTH:
        raise CredentialRefused("Invalid API key")
    digest = key_text.digest(value)
    version = services.keys.version()
    record: key_records.KeyRecord | None = services.keys.get(digest, version)
    if record is None:
        record = _looked_up(value, digest, version, services)
    if record is None:
        raise CredentialRefused("Invalid API key")
    now = services.now()
    if not record.is_good(now):
        raise KeyRefused(record.id, record.account.id, record.account.username, str(record.fault(now)))
    if record.rights is not None and not record.rights.admit(address):
        raise KeyRefused(record.id, record.account.id, record.account.username, "network")
    return record.identity


def _looked_up(value: str, digest: str, version: Hashable | None, services: Services) -> key_records.KeyRecord | None:
    # Judged by form before anything is asked of the database: junk must cost no query.
    if not key_text.is_well_formed(value):
        return None
    record = key_records.find(services.lookups, digest)
    if record is not None:
        services.keys.put(digest, version, record)
    return record
