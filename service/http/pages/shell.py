"""What all pages share: their frame, their headers, their errors, and the way back after an act."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime
from functools import cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from flask import Blueprint, Response, g, make_response, redirect, render_template, request, url_for
from flask.blueprints import BlueprintSetupState
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map

from service.domain.errors import DomainError, Invalid
from service.domain.usernames import LEAST_PASSWORD
from service.http import cookies
from service.http.db import SAFE_METHODS, abandon, services
from service.http.errors import of_database, of_http, status_of
from service.http.policy import visitor
from service.http.sessions import SignInNeeded

STATIC = Path(__file__).parents[1] / "static"

blueprint = Blueprint(
    "pages", __name__, template_folder="../templates", static_folder=str(STATIC), static_url_path="/static"
)

#: Nothing from elsewhere, nothing inline: what somebody names a flow or a key can never become a script.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)

#: What a page says after an act. Only these words: a link must not put others into the server's mouth.
DONE = {
    "key-changed": "The key was changed.",
    "key-disabled": "The key is disabled: it is refused from now on.",
    "key-enabled": "The key is enabled.",
    "keys-deleted": "Deleted. Requests with it are refused from now on.",
    "variable-saved": "The variable was saved.",
    "variable-deleted": "The variable was deleted.",
    "flow-uploaded": "Uploaded.",
    "flow-changed": "The flow was changed.",
    "flow-deleted": "The flow was deleted.",
    "user-added": "The user was added.",
    "user-changed": "The user was changed.",
    "user-deleted": "The user was deleted, with everything that was theirs.",
    "own-password": "Your password was changed, and every other sign-in of yours has ended.",
    "password-set": "The password was set, and every sign-in of that user has ended.",
}


def page(template: str, title: str, *, status: int = 200, **context: Any) -> Response:
    """Return a page.

    Args:
        template: file in ``templates``.
        title: of the document and its one h1.
        status: of the answer; from 400 on, nothing that was done stays.
        context: what the template reads.
    """
    identity = visitor()
    done = DONE.get(request.args.get("done", ""))
    response = make_response(
        render_template(template, title=title, account=identity.account if identity else None, done=done, **context),
        status,
    )
    response.headers["Cache-Control"] = "no-store"
    return response


def failed(error: DomainError, form: Callable[..., Response]) -> Response:
    """Return the page of a form again, with what was typed and what is wrong with it.

    Args:
        error: what is wrong.
        form: shows the form; called after what was done is undone, so that it reads what is stored.
    """
    abandon()
    return form(status=status_of(error), problems=problems_of(error))


def problems_of(error: DomainError) -> dict[str, str]:
    """Return what is wrong by the name of the field; "" for what is about no field."""
    if not isinstance(error, Invalid):
        return {"": error.message}
    return {
        str(problem.loc[1]) if len(problem.loc) > 1 else "": problem.text.removeprefix("Value error, ")
        for problem in error.problems
    }


def back(endpoint: str, done: str, anchor: str | None = None, **values: Any) -> Response:
    """Lead back to a page after an act, so that loading it again repeats nothing."""
    return go(url_for(f"pages.{endpoint}", done=done, _anchor=anchor, **values))


def go(location: str) -> Response:
    """Lead to another page."""
    return make_response(redirect(location, 303))


def when(instant: datetime | None, seconds: bool = False) -> str:
    """A point in time (UTC) as pages show it."""
    return "never" if instant is None else instant.strftime("%Y-%m-%d %H:%M:%S" if seconds else "%Y-%m-%d %H:%M")


@cache
def asset(name: str) -> str:
    """The address of a static file; it changes with the file, so that browsers may keep it."""
    digest = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]
    return f"/static/{name}?v={digest}"


@blueprint.app_template_filter("thousands")
def thousands(number: int | None) -> str:
    """A count with thin spaces between its groups of digits; a dash where it is not known."""
    return "–" if number is None else f"{number:,}".replace(",", "\u202f")  # noqa: RUF001


# Of the application: an address that leads nowhere belongs to no blueprint, and has a page too.
@blueprint.app_context_processor
def _helpers() -> dict[str, Any]:
    return {
        "asset": asset, "when": when, "here": request.path, "settings": services().settings,
        "least_password": LEAST_PASSWORD,
    }  # fmt: skip


@blueprint.after_request
def _finish(response: Response) -> Response:
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    # 304 too: what it says replaces what the browser has kept with the file.
    if request.endpoint == "pages.static" and response.status_code in {200, 304}:
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
    tokens = g.pop("fresh_tokens", None)
    return cookies.set_tokens(response, tokens, services()) if tokens is not None else response


@blueprint.errorhandler(SignInNeeded)
def _sign_in(_error: SignInNeeded) -> Response:
    # A form cannot be sent again by a redirect: its page is where somebody goes on.
    wanted = request.full_path.rstrip("?") if request.method in SAFE_METHODS else request.path
    return go(f"{url_for('pages.login')}?next={quote(wanted)}")


@blueprint.errorhandler(DomainError)
def _refused(error: DomainError) -> Response:
    abandon()
    return page(
        "error.html", "This did not work", status=status_of(error), text="; ".join(problems_of(error).values())
    )


@blueprint.errorhandler(HTTPException)
def _http(error: HTTPException) -> Response:
    return page("error.html", error.name, status=error.code or 500, text="")


@blueprint.record
def _answer_everywhere(state: BlueprintSetupState) -> None:
    """Take over what leads nowhere from ``errors.install``: such an address belongs to no blueprint."""
    for status in (404, 405):
        state.app.register_error_handler(status, partial(_nowhere, state.app.url_map))


def _nowhere(routes: Map, error: HTTPException) -> Response:
    """A page for a browser at an address that leads nowhere, the same whoever asks; JSON for everybody else."""
    answer = of_http(error)
    if not _is_for_people(routes):
        return answer
    shown = page("error.html", "There is no such page", status=answer.status_code, text="")
    if "Allow" in answer.headers:
        shown.headers["Allow"] = answer.headers["Allow"]
    return _finish(shown)


def _is_for_people(routes: Map) -> bool:
    """Say whether a browser asks, and outside the places that programs use."""
    if request.accept_mimetypes.best_match(("application/json", "text/html")) != "text/html":
        return False
    of_programs = (rule for rule in routes.iter_rules() if not rule.endpoint.startswith(f"{blueprint.name}."))
    return _place(request.path) not in {_place(rule.rule) for rule in of_programs}


def _place(path: str) -> str:
    return path.split("/", 2)[1]


@blueprint.errorhandler(SQLAlchemyError)
def _database(error: SQLAlchemyError) -> Response:
    # Not the frame of a page: it would ask the database who is signed in.
    answer = of_database(error)
    answer.set_data(str(answer.get_json()["detail"]))
    answer.content_type = "text/plain; charset=utf-8"
    return answer
