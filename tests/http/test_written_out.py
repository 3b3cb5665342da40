"""Bodies that are written out for speed say what their schemas describe."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime

import pytest

from service.domain.identity import Account
from service.domain.variables import VariableView
from service.http.schemas.users import UserSchema, user_body
from service.http.schemas.variables import VariableSchema, variable_body

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize("last_login_at", [None, AT])
def test_a_user_is_written_as_described(last_login_at: datetime | None) -> None:
    account = Account(uuid.uuid4(), "ada", None, True, False, AT, AT, last_login_at, discord_clicked=True)
    assert list(user_body(account).items()) == list(json.loads(UserSchema().dumps(account)).items())


@pytest.mark.parametrize("value", [None, "text"])
def test_a_variable_is_written_as_described(value: str | None) -> None:
    view = VariableView(str(uuid.uuid4()), "KEY", "Generic", value, True, ["api_key"])
    assert list(variable_body(view).items()) == list(json.loads(VariableSchema().dumps(view)).items())
