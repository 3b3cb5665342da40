"""Pages for the browser: plain forms and links, which a script only makes smoother."""

from service.http.pages import audit, entrance, flows, global_variables, keys, playground, usage, users
from service.http.pages.shell import blueprint

__all__ = ["audit", "blueprint", "entrance", "flows", "global_variables", "keys", "playground", "usage", "users"]
