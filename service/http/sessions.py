"""Login sessions of browsers: who is signed in, and new tokens before the old ones end."""

from __future__ import annotations

from flask import Request, g, request

from service.domain import accounts
from service.domain.accounts import Tokens
from service.domain.audit import anonymous
from service.domain.errors import CredentialRefused, Forbidden, TokenRefused
from service.domain.identity import Identity
from service.http import csrf
from service.http.db import Services, own_transaction, services, session
from service.http.identity import ACCESS_COOKIE, REFRESH_COOKIE, presented


class SignInNeeded(TokenRefused):
    """A page was asked for by nobody who is signed in."""


def refreshed(token: str) -> Tokens:
    """Exchange a refresh token for a new pair.

    Raises:
        TokenRefused: it is not good; a second use of it ends the sign-in.
    """
    own = services()
    with own_transaction() as writer:
        outcome = accounts.refresh(writer, token, own.lifetimes, own.now())
        if isinstance(outcome, accounts.Reused):
            # Committed with this transaction: the end of a copied sign-in must survive the refusal.
            accounts.end_reused(writer, anonymous(request.remote_addr), outcome, own.now())
    if isinstance(outcome, accounts.Reused):
        raise TokenRefused("Invalid refresh token")
    return outcome


def of_page(request: Request, own: Services) -> Identity:
    """Return who is signed in; an access token that has ended is renewed on the way.

    ``g.fresh_tokens`` are then the tokens that the answer has to hand out.

    Raises:
        SignInNeeded: nobody is.
        Forbidden: another site sent this, or an API key: a leaked key must not reach what only pages do.
    """
    csrf.check(request, by_form=True)
    if any(credential.is_key for credential in presented(request)):
        raise Forbidden("Pages are opened by signing in, not with an API key")
    sent = request.cookies.getlist(ACCESS_COOKIE)
    if len(set(sent)) > 1:
        raise SignInNeeded("Two sign-ins at once")
    try:
        return Identity(accounts.account_of(session(), sent[0] if sent else "", own.now()), "session")
    except CredentialRefused:
        return _renewed(request.cookies.get(REFRESH_COOKIE), own)


def _renewed(token: str | None, own: Services) -> Identity:
    if not token:
        raise SignInNeeded("Not signed in")
    try:
        g.fresh_tokens = tokens = refreshed(token)
        return Identity(accounts.account_of(session(), tokens.access, own.now()), "session")
    except CredentialRefused:
        raise SignInNeeded("Not signed in") from None
