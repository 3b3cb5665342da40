"""The audit trail, for superusers."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from flask import Response, request

from service.domain import audit
from service.domain.audit import BOOT, CONSOLE, Action
from service.http.db import session
from service.http.pages import forms
from service.http.pages.shell import blueprint, page
from service.http.schemas.audit import AuditQuerySchema

_SIZE = 50
#: Who acts where nobody has said who they are.
_UNNAMED = {BOOT.via: "server", CONSOLE.via: "console"}
_FILTERS = ("action", "outcome", "actor_id", "key_id", "subject_id", "since", "until")


@blueprint.get("/admin/audit", endpoint="audit")
def show() -> Response:
    """List events, the newest first; filtered and paged as the API does."""
    given = {name: value for name in (*_FILTERS, "cursor") if (value := request.args.get(name, "").strip())}
    query = forms.load(AuditQuerySchema(), given | {"limit": _SIZE})
    wanted = query["filter"]
    if wanted.until is not None and len(given["until"]) == len("2027-01-31"):
        # Somebody who picks a day means all of it.
        wanted = replace(wanted, until=wanted.until + timedelta(days=1, microseconds=-1))
    rows, following = audit.page(session(), wanted, query["before"], _SIZE)
    kept = {name: value for name, value in given.items() if name in _FILTERS}
    return page("audit.html", "Audit trail", rows=rows, following=following, given=kept, actions=list(Action),
                unnamed=_UNNAMED)  # fmt: skip
