"""Numbers for Prometheus, for whoever holds a superuser's key."""

from __future__ import annotations

from flask import Response

from service.domain.errors import NotFound
from service.http import metrics
from service.http.db import services
from service.http.parsing import Blueprint

blueprint = Blueprint("metrics", __name__, description="Numbers for Prometheus")


@blueprint.get("/metrics", endpoint="read")
@blueprint.response(200, content_type="text/plain")
def read() -> Response:
    """Tell how much this server does, over all its workers."""
    if services().settings.metrics != "key":
        raise NotFound("Not Found")
    return Response(metrics.read(services()), content_type=metrics.CONTENT_TYPE)
