"""The audit trail, for superusers."""

from __future__ import annotations

from flask import Response, request

from service.domain import audit
from service.domain.audit import Action
from service.http.db import session
from service.http.pages import forms
from service.http.pages.shell import blueprint, page
from service.http.schemas.audit import AuditQuerySchema

_SIZE = 50
_FILTERS = ("action", "outcome", "actor_id", "key_id", "subject_id", "since", "until")


@blueprint.get("/admin/audit", endpoint="audit")
def show() -> Response:
    """List events, the newest first; filtered and paged as the API does."""
    given = {name: value for name in (*_FILTERS, "cursor") if (value := request.args.get(name, "").strip())}
    query = forms.load(AuditQuerySchema(), given | {"limit": _SIZE})
    rows, following = audit.page(session(), query["filter"], query["before"], _SIZE)
    kept = {name: value for name, value in given.items() if name in _FILTERS}
    return page("audit.html", "Audit trail", rows=rows, following=following, given=kept, actions=list(Action))
