"""Usage: requests by day and by key, as charts and as the tables behind them."""

from __future__ import annotations

from flask import Response, request

from service.domain import usage
from service.http.db import catch_up, services, session
from service.http.pages.charts import bars
from service.http.pages.shell import blueprint, page
from service.http.policy import caller

SPANS = (7, 30, 90)


@blueprint.get("/settings/usage", endpoint="usage")
def show() -> Response:
    """Show the last days."""
    own = services()
    catch_up(own.usage, own.run_log)
    wanted = request.args.get("days", "30")
    days = int(wanted) if wanted in map(str, SPANS) else 30
    report = usage.of_owner(session(), caller().user_id, days, own.now())
    charts = {
        "Requests with keys": bars([(line.name, line.requests, line.refused) for line in report.days]),
        "Runs": bars([(line.name, line.runs, line.failed) for line in report.days]),
    }
    return page("usage.html", "Usage", report=report, charts=charts, days=days, spans=SPANS)
