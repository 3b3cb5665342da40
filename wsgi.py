"""``gunicorn wsgi:app``."""

from service.app import create_app
from service.boot import exit_on_error
from service.settings import Settings

with exit_on_error():
    app = create_app(Settings.from_env())
