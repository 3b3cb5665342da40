"""A short soak: what some hundred mixed requests leave behind. `make soak` is the long one, with memory and rows."""

from __future__ import annotations

import pytest
from sqlalchemy import URL

from benchmarks.soak import broken_rules, soaking


@pytest.mark.postgresql
def test_mixed_requests_leave_no_thread_connection_file_or_dead_child(postgresql_server: URL) -> None:
    with soaking(postgresql_server.render_as_string(hide_password=False)) as soak:
        soak.send(300, 1)
        soak.look(rest=6)
        soak.send(900, 2)
        soak.look(rest=6)
        broken = broken_rules(soak.looks, soak.place, {})
    assert [rule for rule in broken if not rule.startswith("memory")] == []
