"""Pages for the browser: plain forms and links, which a script only makes smoother."""

from service.http.pages import account, audit, entrance, flows, global_variables, keys, playground, usage, users
from service.http.pages.shell import blueprint

__all__ = [
    "account", "audit", "blueprint", "entrance", "flows", "global_variables", "keys", "playground", "usage", "users",
]  # fmt: skip
