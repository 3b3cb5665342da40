"""Signing in and out, for the API and the pages alike: limits, the audit trail, tokens."""

from __future__ import annotations

from flask import request

from service.domain import accounts, audit
from service.domain.accounts import Tokens
from service.domain.audit import Action, Subject
from service.domain.errors import LoginRefused
from service.domain.sign_in import KNOWN_FOR
from service.domain.usernames import by_name, name_key
from service.http.db import Services, abandon, own_transaction, release, services, session
from service.http.identity import ACCESS_COOKIE, REFRESH_COOKIE
from service.http.policy import actor, superuser_account


def with_password(username: str, password: str) -> Tokens:
    """Exchange a name and a password for tokens.

    Raises:
        LoginRefused: one of them is wrong, or the account is not active.
        TooManyAttempts: of this address, or for this account.
    """
    own, account = services(), name_key(username)
    release()  # counting may write, and SQLite has one writer
    # Before the hash is computed: guessing must cost the guesser, not the server.
    own.sign_in.attempt("login", request.remote_addr)
    counted = own.sign_in.guess(account, lambda: _is_known(username, own))
    try:
        user = accounts.login(session(), actor(), username, password, own.hasher, own.now())
    except LoginRefused as error:
        abandon()
        subject = Subject("user", error.user_id, error.username)
        own.refusals.note(actor(), Action.LOGIN, own.now(), error.reason, subject)
        raise
    tokens = accounts.issue(session(), user.id, own.lifetimes, own.now())
    if counted:
        release()
        own.sign_in.guessed(account)
    return tokens


def without_password() -> Tokens:
    """Sign the superuser in, as AUTO_LOGIN does; the caller has asked whether it may."""
    own = services()
    account = superuser_account(own)
    with own_transaction() as writer:
        tokens = accounts.issue(writer, account.id, own.lifetimes, own.now())
        subject, details = Subject("user", account.id, account.username), {"reason": "AUTO_LOGIN"}
        audit.record(writer, actor(), Action.LOGIN, own.now(), subject, details)
    return tokens


def end() -> None:
    """End the sign-ins whose tokens the request carries."""
    scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
    carried = [request.cookies.get(ACCESS_COOKIE), request.cookies.get(REFRESH_COOKIE)]
    for token in (*carried, bearer.strip() if scheme.lower() == "bearer" else None):
        if token:
            accounts.logout(session(), actor(), token, services().now())
            # The next one may be another user's, and two users are never locked at once.
            release()


def _is_known(username: str, own: Services) -> bool:
    """Say whether an account has signed in from this address before."""
    user = by_name(session(), username)
    since = own.now() - KNOWN_FOR
    return user is not None and audit.has_signed_in_from(session(), user.id, request.remote_addr, since)
