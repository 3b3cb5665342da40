"""``gunicorn -c python:service.gunicorn_conf wsgi:app``: the same rules as ``keyturn run``."""

from service import boot
from service.gunicorn_options import options
from service.settings import Settings

with boot.exit_on_error():
    _options = options(Settings.from_env())

bind = _options["bind"]
workers = _options["workers"]
worker_class = _options["worker_class"]
threads = _options["threads"]
timeout = _options["timeout"]
graceful_timeout = _options["graceful_timeout"]
keepalive = _options["keepalive"]
worker_connections = _options["worker_connections"]
limit_request_line = _options["limit_request_line"]
limit_request_fields = _options["limit_request_fields"]
limit_request_field_size = _options["limit_request_field_size"]
header_map = _options["header_map"]
pre_request = _options["pre_request"]
forwarded_allow_ips = _options["forwarded_allow_ips"]
secure_scheme_headers = _options["secure_scheme_headers"]
forwarder_headers = _options["forwarder_headers"]
logger_class = _options["logger_class"]
loglevel = _options["loglevel"]
accesslog = _options["accesslog"]
on_starting = _options["on_starting"]
pre_fork = _options["pre_fork"]
post_fork = _options["post_fork"]
child_exit = _options["child_exit"]
post_worker_init = _options["post_worker_init"]
control_socket_disable = _options["control_socket_disable"]
