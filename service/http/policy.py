"""The door: every request passes here before any view, and before its body is read.

The rule is found by the matched endpoint, never by the URL's text, so that no spelling of a path can be
judged as one route and served as another (CVE-2026-49468).
"""

from __future__ import annotations

import logging
import uuid

from flask import Flask, Request, Response, g, request

from service.domain.audit import Action, Actor, Subject, anonymous
from service.domain.errors import (
    CredentialRefused,
    DomainError,
    Forbidden,
    KeyRefused,
    NotFound,
    TokenRefused,
    TooManyAttempts,
)
from service.domain.identity import Account, Identity
from service.domain.permissions import check_route
from service.domain.policy import Kind, Outcome, Policy, without_credential
from service.domain.sign_in import network_of
from service.domain.usernames import by_name
from service.http import bodies, csrf, key_limits, origins, sessions
from service.http.db import Services, abandon, notes, services, session
from service.http.forwarded import PEER
from service.http.identity import identify, presented
from service.http.rules import RULES
from service.settings import is_loopback

log = logging.getLogger(__name__)

KEY_MISSING = "An API key must be passed as query or header"
KEY_BAD = "Invalid or missing API key"
KEY_SINCE_1_5 = (
    "Since v1.5, LANGFLOW_AUTO_LOGIN requires a valid API key. Set LANGFLOW_SKIP_AUTH_AUTO_LOGIN=true to skip "
    "this check. Please update your authentication method."
)
WARNING = '299 keyturn "LANGFLOW_SKIP_AUTH_AUTO_LOGIN is deprecated and ends with Langflow 2.0: send an API key"'
#: What proxies add to a request.
_OF_PROXIES = ("Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP")


def install(app: Flask, policy: Policy) -> None:
    """Put the door in front of every route of the application."""

    def check() -> None:
        # The request itself, not Flask's proxy of it, which is looked up anew at each use.
        _check(request._get_current_object(), app.extensions["keyturn"])  # type: ignore[attr-defined]

    app.before_request(check)
    key_limits.install(app)
    if Outcome.SUPERUSER_DEPRECATED in {without_credential(kind, policy) for kind in Kind}:
        app.after_request(_warn)


def caller() -> Identity:
    """Return who sent this request; only for endpoints whose rule wants somebody."""
    identity: Identity | None = g.identity
    if identity is None:
        raise Forbidden("No authentication credentials provided")
    return identity


def visitor() -> Identity | None:
    """Return who sent this request, or None for nobody in particular; a refused one is nobody's too."""
    identity: Identity | None = g.get("identity")
    return identity


def recognised() -> Identity | None:
    """Return whose credential this request carries, where everybody may ask; one that is not good is nobody's.

    It is judged, counted and noted as at the door, so that a key cannot be tried here unseen.

    Raises:
        TooManyAttempts: the key has used up its requests, or too many bad keys came from this address.
        LimitsAway: as for ``key_limits.count``.
    """
    try:
        return _admit(request, Kind.OPTIONAL, services())
    except CredentialRefused:
        return None


def only_flows() -> frozenset[uuid.UUID] | None:
    """Return the flows that the caller's key is limited to; None: no such limit."""
    rights = caller().rights
    return None if rights is None else rights.flows


def actor() -> Actor:
    """Return who acts, for use cases that write to the audit trail; nobody in particular where nobody is known."""
    identity = visitor()
    return Actor.of(identity, request.remote_addr) if identity is not None else anonymous(request.remote_addr)


def _check(request: Request, own: Services) -> None:
    endpoint, identity = request.endpoint, None
    # A preflight carries no credential by its nature, and Flask answers it without any view.
    if endpoint is not None and request.method != "OPTIONS":
        kind = RULES.get(endpoint)
        if kind is None:
            log.error("the endpoint %s has no rule in service/http/rules.py", endpoint)
            raise Forbidden("This endpoint is closed")
        if kind is Kind.PUBLIC:
            bodies.check_strangers(request)
        else:
            identity = _admit(request, kind, own)
    notes().identity = identity


def _admit(request: Request, kind: Kind, own: Services) -> Identity | None:
    if kind.is_page:
        visitor = sessions.of_page(request, own)
        _check_superuser(visitor, needed=kind is Kind.ADMIN_PAGE)
        return visitor
    if kind is Kind.MCP:
        origins.check(request, own.settings)
    try:
        identity = identify(request, own, keys_only=kind.keys_only)
    except TokenRefused:
        raise
    except CredentialRefused as error:
        _note_bad_key(request, error, own)
        raise CredentialRefused(_wording(kind, str(error))) from None
    if identity is None:
        return _without_credential(request, kind, own)
    if identity.key_id is not None:
        _use_key(request, identity, own)
    if identity.via == "session":
        csrf.check(request)
    _check_superuser(identity, needed=kind is Kind.SUPERUSER)
    if kind is Kind.SESSION and identity.via != "session":
        raise Forbidden("Sign in interactively to do this; an API key is not enough")
    return identity


def _check_superuser(identity: Identity, *, needed: bool) -> None:
    if needed and not identity.is_superuser:
        raise Forbidden("The user doesn't have enough privileges", code="administration_denied")


def _use_key(request: Request, identity: Identity, own: Services) -> None:
    """Count a use of a key, and hold the key to its rights."""
    assert identity.key_id is not None  # noqa: S101 - for the type checker; the caller has looked # nosec B101
    if own.settings.track_key_usage:
        own.usage.record(identity.key_id, own.now())
        notes().used_key = identity.key_id
    if identity.expires_at is not None:
        key_limits.warn_of_end(identity.expires_at, own)
    if identity.rights is None:
        return
    try:
        flow_id = (request.view_args or {}).get("flow_id")
        check_route(identity.rights, str(request.endpoint), flow_id)
        key_limits.count(identity, own)
    except DomainError as error:
        reason = {Forbidden: "scope", NotFound: "flow", TooManyAttempts: "rate"}.get(type(error), "limits away")
        abandon()
        by = Actor.of(identity, request.remote_addr)
        subject = Subject("route", None, request.endpoint)
        own.refusals.note(by, Action.KEY_USED, own.now(), reason, subject)
        raise


def _note_bad_key(request: Request, error: CredentialRefused, own: Services) -> None:
    """Write to the audit trail that a key was refused, and slow down whoever tries many."""
    abandon()
    address = request.remote_addr
    if isinstance(error, KeyRefused):
        by = Actor(error.owner_id, error.owner_name, "key", error.key_id, address)
        own.refusals.note(by, Action.KEY_USED, own.now(), error.reason)
    else:
        own.refusals.note(anonymous(address), Action.KEY_USED, own.now(), "unknown or contradictory key")
    if own.settings.rate_limit_enabled:
        most = own.settings.bad_keys_per_minute
        standing = own.bad_keys.hit(f"bad-key:{network_of(address)}", most, 60)
        # A good key from the same address still passes: only bad ones end here.
        if not standing.allowed:
            raise TooManyAttempts(standing.resets)


def _wording(kind: Kind, text: str) -> str:
    return KEY_BAD if kind is Kind.RUN and text == "Invalid API key" else text


def _without_credential(request: Request, kind: Kind, own: Services) -> Identity | None:
    outcome = without_credential(kind, own.policy)
    if outcome is Outcome.ANONYMOUS:
        bodies.check_strangers(request)
        return None
    # A login token does not count on endpoints for keys, and still whoever sends one is not nobody.
    if outcome.acts_as_superuser and next(presented(request), None) is None:
        if passes_openly(request, own):
            g.deprecated = outcome is Outcome.SUPERUSER_DEPRECATED
            return Identity(superuser_account(own), "policy")
        if csrf.is_foreign(request):
            raise Forbidden(csrf.REFUSED)
    if kind is Kind.WEBHOOK:
        raise Forbidden("API key required when webhook authentication is enabled")
    if kind is Kind.RUN:
        raise Forbidden(KEY_SINCE_1_5 if outcome is Outcome.REFUSE_KEY_NEEDED else KEY_MISSING)
    raise Forbidden("No authentication credentials provided")


def passes_openly(request: Request, own: Services) -> bool:
    """Say whether a request without a credential may act as the superuser from where it comes.

    Never for another site, not even for reading: whoever opens the server to programs does not open it to every
    page that a browser shows.
    """
    return not csrf.is_foreign(request) and (own.settings.allow_unauthenticated or is_from_here(request))


def is_from_here(request: Request) -> bool:
    """Say whether a request comes from this machine itself, and is addressed to it by a loopback name.

    gunicorn may have been told another address than ``LANGFLOW_HOST``, and a web page may have rebound its name to
    127.0.0.1.
    """
    peer = request.environ.get(PEER)
    if peer is None:
        # A proxy of this machine would make neighbours of all its clients. nginx before 1.29.7 adds no header unless
        # told to, and speaks HTTP/1.0.
        if request.environ["SERVER_PROTOCOL"] == "HTTP/1.0" or any(name in request.headers for name in _OF_PROXIES):
            return False
    elif peer and not is_loopback(peer):  # "" is a proxy that came by KEYTURN_SOCKET
        return False
    host = request.host.rpartition(":")[0] if request.host.rpartition(":")[2].isdigit() else request.host
    return is_loopback(request.remote_addr or "") and is_loopback(host)


def superuser_account(own: Services) -> Account:
    """Return the account that AUTO_LOGIN signs in."""
    user = by_name(session(), own.settings.superuser)
    if user is None or not user.is_active or not user.is_superuser:
        raise Forbidden("The superuser of LANGFLOW_SUPERUSER is missing or not active")
    return Account.of(user)


def _warn(response: Response) -> Response:
    if g.get("deprecated"):
        response.headers["Warning"] = WARNING
    return response
