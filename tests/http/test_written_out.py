"""Bodies that are written out for speed say what their schemas describe."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from service.domain.identity import Account
from service.domain.keys import KeyRules
from service.domain.variables import VariableView
from service.http.schemas.keys import KeySchema, key_body
from service.http.schemas.users import UserSchema, user_body
from service.http.schemas.variables import VariableSchema, variable_body
from service.storage import ApiKey

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize("last_login_at", [None, AT])
def test_a_user_is_written_as_described(last_login_at: datetime | None) -> None:
    account = Account(uuid.uuid4(), "ada", None, True, False, AT, AT, last_login_at, discord_clicked=True)
    assert list(user_body(account).items()) == list(json.loads(UserSchema().dumps(account)).items())


@pytest.mark.parametrize("value", [None, "text"])
def test_a_variable_is_written_as_described(value: str | None) -> None:
    view = VariableView(str(uuid.uuid4()), "KEY", "Generic", value, True, ["api_key"])
    assert list(variable_body(view).items()) == list(json.loads(VariableSchema().dumps(view)).items())


LIMITED: dict[str, Any] = {
    "scopes": ["run"], "flows": [str(uuid.UUID(int=1))], "networks": ["10.0.0.0/8"], "rate_requests": 5,
    "rate_seconds": 60, "max_parallel": 2, "expires_at": AT, "last_used_at": AT, "rotated_at": AT, "former_until": AT,
}  # fmt: skip


@pytest.mark.parametrize("limits", [dict.fromkeys(LIMITED), LIMITED], ids=["free", "limited"])
@pytest.mark.parametrize("key", [None, "sk-the-key"])
@pytest.mark.parametrize("now", [AT - timedelta(days=1), AT, AT + timedelta(days=365)])
def test_a_key_is_written_as_described(limits: dict[str, Any], key: str | None, now: datetime) -> None:
    row = ApiKey(id=uuid.uuid4(), user_id=uuid.uuid4(), name="n", prefix="sk-12345", length=60, is_active=True,
                 created_at=AT, total_uses=7, **limits)  # fmt: skip
    body = key_body(row, now, KeyRules(), key)
    assert list(body) == list(KeySchema().fields)
    assert set(body["rate_limit"] or ()) == (
        set() if limits["rate_requests"] is None else {"requests", "window_seconds"}
    )
    assert json.loads(json.dumps(body)) == json.loads(KeySchema().dumps(_read(body)))


def _read(body: dict[str, Any]) -> dict[str, Any]:
    """The same with the types that the schema dumps."""
    instants = ("last_used_at", "expires_at", "created_at", "rotated_at", "former_valid_until")
    ids = {name: uuid.UUID(body[name]) for name in ("id", "user_id")}
    return body | ids | {name: body[name] and datetime.fromisoformat(body[name]) for name in instants}
