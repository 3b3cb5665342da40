"""The OpenAPI document at ``/openapi.json``: what every route takes, and everything that it may answer.

The views say what their schemas say. What those cannot know is here: which refusals a route has, how its caller shows
who it is, which answers have no schema, and where one answer leads to the next request. ``tests/fuzz`` holds the
service to every word of it.
"""

from __future__ import annotations

from flask import Flask
from flask_smorest import Api

from service.http.openapi import fields, finish
from service.http.openapi.plugin import OperationsPlugin


def api_of(app: Flask) -> Api:
    """Return the API whose document is complete once its blueprints are registered and ``completed``."""
    api = Api(app, spec_kwargs={"extra_plugins": [OperationsPlugin()]})
    fields.install(api)
    return api


def completed(api: Api) -> None:
    """Say what can be said only when everything is registered."""
    finish.complete(api.spec)
