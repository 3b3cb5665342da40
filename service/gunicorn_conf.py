"""``gunicorn -c python:service.gunicorn_conf wsgi:app``: the same rules as ``keyturn run``."""

import sys

from service import boot
from service.gunicorn_options import options
from service.settings import Settings

with boot.exit_on_error():
    # gunicorn reads the names of this module.
    for _name, _value in options(Settings.from_env()).items():
        setattr(sys.modules[__name__], _name, _value)
