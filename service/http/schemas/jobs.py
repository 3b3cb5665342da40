"""Jobs on the wire: Keyturn's own."""

from __future__ import annotations

from typing import Any

from marshmallow import fields, post_dump, validate

from service.domain.jobs import MOST, PAGE, Status
from service.http.errors import status_of_kind
from service.http.schemas.fields import Instant, Text, WireSchema, between


class StartedJobSchema(WireSchema):
    """What the starter of a job is told."""

    id = fields.UUID()
    flow_id = fields.UUID()
    status = fields.String()
    created_at = Instant()

    @post_dump
    def add_links(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Say where to go on."""
        address = f"/api/v1/jobs/{data['id']}"
        return data | {"links": {"job": address, "cancel": f"{address}/cancel"}}


class ListedJobSchema(StartedJobSchema):
    """A job without its result."""

    key_id = fields.UUID(allow_none=True)
    started_at = Instant()
    finished_at = Instant()
    attempts = fields.Integer()
    error = fields.Method("_error")

    def _error(self, job: Any) -> dict[str, Any] | None:
        """The status and the words that ``/run`` would have answered with."""
        if job.error is None:
            return None
        return {"status": status_of_kind(job.error["kind"]), "message": job.error["message"]}


class JobSchema(ListedJobSchema):
    """A job; ``result`` is what ``/run`` would have answered."""

    result = fields.Raw(allow_none=True)


class JobPageSchema(WireSchema):
    """Jobs, the newest first; ``next_cursor`` is null on the last page."""

    jobs = fields.List(fields.Nested(ListedJobSchema))
    next_cursor = fields.UUID(allow_none=True)


class JobQuerySchema(WireSchema):
    """Which jobs."""

    limit = fields.Integer(load_default=PAGE, validate=between(1, MOST))
    cursor = fields.UUID(load_default=None)
    flow_id = fields.UUID(load_default=None)
    status = Text(
        load_default=None,
        validate=validate.OneOf([one.value for one in Status], error="Input should be one of {choices}"),
    )
