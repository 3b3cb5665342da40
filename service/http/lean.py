"""Flask without what no view here needs, for every request pays for it: coroutines, sessions, hosts read anew."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flask import Flask, Request
from flask.sessions import NullSession, SessionInterface
from werkzeug.routing import MapAdapter, Rule

#: Hosts by which the server is called; whoever makes up more makes it read them anew, and nothing else.
_MOST_HOSTS = 256
#: The same for methods and paths that lead somewhere.
_MOST_PLACES = 256
#: Characters of a host or a path that is kept, so that nobody fills the memory with them.
_LONGEST = 255


class _NoSessions(SessionInterface):
    """Flask's own sessions are not used, so nobody has to look for their cookie and its secret at each request."""

    _none = NullSession()

    def open_session(self, app: Flask, request: Request) -> NullSession:  # noqa: ARG002 - Flask's signature
        return self._none


class _Adapter(MapAdapter):
    """Knows again what werkzeug has found for a method and a path."""

    known: dict[tuple[str, str], tuple[Rule, Mapping[str, Any]]]

    def match(self, *args: Any, **options: Any) -> Any:
        if args or options != {"return_rule": True}:
            return super().match(*args, **options)
        place = (self.default_method, self.path_info)
        known = self.known.get(place)
        if known is None:
            known = super().match(return_rule=True)
            if len(self.path_info) <= _LONGEST:
                if len(self.known) >= _MOST_PLACES:
                    self.known.clear()
                self.known[place] = known
        return known[0], dict(known[1])


class App(Flask):
    """The application's class."""

    session_interface = _NoSessions()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        #: By ``Host`` and what stands in for it: the name that werkzeug has made of it.
        self._hosts: dict[tuple[object, ...], str] = {}
        #: By method and path.
        self._places: dict[tuple[str, str], tuple[Rule, Mapping[str, Any]]] = {}

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        return func

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """As Flask does, which judges and encodes the host of each request; here a known one is known.

        Raises:
            werkzeug.exceptions.SecurityError, BadHost: it is no host.
        """
        if request is None:
            return super().create_url_adapter(None)
        environ = request.environ
        host, scheme = environ.get("HTTP_HOST"), environ["wsgi.url_scheme"]
        if len(host or "") > _LONGEST or "HTTP_UPGRADE" in environ:
            return super().create_url_adapter(request)
        key = (host, scheme, environ.get("SERVER_NAME"), environ.get("SERVER_PORT"))
        name = self._hosts.get(key)
        if name is None:
            judged = super().create_url_adapter(request)
            if judged is not None:
                if len(self._hosts) >= _MOST_HOSTS:
                    self._hosts.clear()
                self._hosts[key] = judged.server_name
            return judged
        adapter = _Adapter(
            self.url_map, name, request.root_path, "", scheme, request.path, request.method,
            request.query_string.decode("utf-8", "replace"),
        )  # fmt: skip
        adapter.known = self._places
        return adapter
