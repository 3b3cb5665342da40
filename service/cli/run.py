"""``keyturn run``: the server."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from gunicorn import systemd
from gunicorn.app.base import BaseApplication

from service.app import create_app
from service.boot import BootError, exit_on_error
from service.cli.options import env_file_option, read_settings
from service.environment import SettingsError
from service.gunicorn_options import options as gunicorn_options
from service.settings import NO_REMOVAL, NO_TLS, Settings

#: Where the options that have no effect are noted for the start screen.
_UNUSED = "keyturn.unused"


class _Server(BaseApplication):  # type: ignore[misc]
    """gunicorn with settings that are already read."""

    def __init__(self, settings: Settings, when_answering: Callable[[], None] | None) -> None:
        self.settings, self.when_answering = settings, when_answering
        super().__init__()

    def load_config(self) -> None:
        for name, value in gunicorn_options(self.settings).items():
            self.cfg.set(name, value)
        # Beside what each worker does then.
        self.start_worker = self.cfg.post_worker_init
        self.cfg.set("post_worker_init", self._worker_is_ready)

    def _worker_is_ready(self, worker: Any) -> None:
        self.start_worker(worker)
        if worker.age == 1 and self.when_answering is not None:
            self.when_answering()

    def load(self) -> object:
        with exit_on_error():
            return create_app(self.settings)


def _langflow_option(*names: str, **attributes: Any) -> Callable[[Any], Any]:
    """Take an option of ``langflow run`` that Keyturn has no use for; the start screen names it."""

    def note(ctx: click.Context, param: click.Parameter, value: object) -> None:
        if value is not None:
            ctx.meta.setdefault(_UNUSED, []).append(param.opts[0])

    return click.option(*names, hidden=True, expose_value=False, callback=note, **attributes)


def _refused_option(name: str, why: str, **attributes: Any) -> Callable[[Any], Any]:
    """Refuse an option of ``langflow run`` whose loss nobody would notice in time."""

    def refuse(ctx: click.Context, param: click.Parameter, value: object) -> None:  # noqa: ARG001 - as click asks
        if value:
            raise SettingsError([f"{param.opts[0]}: {why}"])

    return click.option(name, hidden=True, expose_value=False, callback=refuse, **attributes)


@click.command("run")
@env_file_option
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=int, help="Port to listen on.  [default: 7860]")
@click.option("--workers", type=int, help="Processes.  [default: 1]")
@click.option("--worker-timeout", type=int, help="Seconds until a worker without a heartbeat is replaced.")
@click.option("--backend-only/--no-backend-only", default=None, help="Serve the API and no pages.")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error", "critical"], case_sensitive=False),
    help="How much to log.",
)
@click.option("--log-file", type=click.Path(path_type=Path), help="Log into this file.")
@click.option("--auto-saving/--no-auto-saving", default=None, hidden=True)
@click.option("--auto-saving-interval", type=int, hidden=True)
@click.option("--max-file-size-upload", "max_file_size_upload_mb", type=int, hidden=True)
@_langflow_option("--open-browser/--no-open-browser", default=None)
@_langflow_option("--dev/--no-dev", default=None)
@_langflow_option("--store/--no-store", default=None)
@_langflow_option("--cache")
@_langflow_option("--components-path")
@_langflow_option("--frontend-path")
@_langflow_option("--log-rotation")
@_langflow_option("--webhook-polling-interval")
# Langflow declares it a switch, and its page gives it a number.
@_langflow_option("--health-check-max-retries", is_flag=False, flag_value="true")
@_langflow_option("--no-health-check-max-retries", is_flag=True, default=None)
@_refused_option("--ssl-cert-file-path", NO_TLS)
@_refused_option("--ssl-key-file-path", NO_TLS)
@_refused_option("--remove-api-keys/--no-remove-api-keys", NO_REMOVAL, default=None)
def run(env_file: Path | None, **options: Any) -> None:
    """Start the server.

    On an empty database it makes the schema and the first superuser. It stops with one line that says what
    to do when something stands in the way.
    """
    settings = read_settings(env_file, **options)
    unused: list[str] = click.get_current_context().meta.get(_UNUSED, [])
    settings = replace(settings, without_effect=(*settings.without_effect, *unused))
    refuse_taken_port(settings)
    serve(settings)


def serve(settings: Settings, when_answering: Callable[[], None] | None = None) -> None:
    """Run gunicorn until it is told to stop; ``when_answering`` is called once, with the first worker."""
    _Server(settings, when_answering).run()


def refuse_taken_port(settings: Settings) -> None:
    """Stop when somebody else listens there: moving silently to the next port would surprise everybody.

    Raises:
        BootError: the port or the socket is taken, or the socket's folder is missing.
    """
    if systemd.listen_fds(unset_environment=False):
        return  # systemd listens, and hands its socket over
    if settings.socket is not None:
        _refuse_taken_socket(settings.socket)
        return
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            way = (
                "stop the other program, or choose another --port or LANGFLOW_PORT"
                if error.errno == errno.EADDRINUSE
                else "choose an address of this machine with --host or LANGFLOW_HOST, and a --port that you may use"
            )
            raise BootError(f"cannot listen on {settings.host}:{settings.port} ({error.strerror}): {way}") from None


def _refuse_taken_socket(path: Path) -> None:
    if not os.access(path.parent, os.W_OK):
        raise BootError(f"KEYTURN_SOCKET {path}: its folder has to be there, and writable")
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return  # nobody answers: gunicorn takes the place of a socket that was left behind
    raise BootError(f"cannot listen on {path} (a program answers there): stop it, or choose another KEYTURN_SOCKET")
