"""What a key may do: its rights, and which of them each route needs.

A key without rights of its own may do all that its owner may, as Langflow's keys do. Whatever is listed only takes
away: an empty list means nothing at all (Flowise's GHSA-c2c9-mfw7-p8hw read it as everything).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from service.domain.errors import Forbidden, Invalid, NotFound

Network = IPv4Network | IPv6Network
MOST_ENTRIES = 200
MOST_REQUESTS, MOST_SECONDS, MOST_PARALLEL = 10**9, 31 * 86_400, 100_000


class Scope(StrEnum):
    """A kind of act."""

    #: Run flows.
    RUN = "run"
    #: Look at one's own things.
    READ = "read"
    #: Change one's own things, keys among them.
    MANAGE = "manage"
    #: What only a superuser may.
    ADMIN = "admin"
    #: Read the server's numbers, and nothing else; of a superuser's key only.
    METRICS = "metrics"


#: Whoever may change may look. Running is never implied: it spends the provider's money.
IMPLIED = {Scope.MANAGE: {Scope.READ}, Scope.ADMIN: {Scope.MANAGE, Scope.READ, Scope.METRICS}}

#: Which scope a route needs, by endpoint; None: any good key. Every route is here, and a test says so.
ROUTES: dict[str, Scope | None] = {
    "monitor.health": None,
    "monitor.health_check": None,
    "monitor.ready": None,
    "monitor.version": None,
    "monitor.config": None,
    "auth.login": None,
    "auth.auto_login": None,
    "auth.refresh": None,
    "auth.logout": None,
    "auth.session": None,
    "api-docs.openapi_json": None,
    "users.whoami": None,
    "metrics.read": Scope.METRICS,
    "users.create": Scope.ADMIN,
    "users.list": Scope.ADMIN,
    "users.get": Scope.ADMIN,
    "users.update": Scope.ADMIN,
    "users.delete": Scope.ADMIN,
    "users.reset_password": Scope.ADMIN,
    "audit.list": Scope.ADMIN,
    "keys.list": Scope.READ,
    "keys.get": Scope.READ,
    "keys.usage": Scope.READ,
    "keys.create": Scope.MANAGE,
    "keys.update": Scope.MANAGE,
    "keys.rotate": Scope.MANAGE,
    "keys.delete": Scope.MANAGE,
    "keys.store": Scope.MANAGE,
    "variables.list": Scope.READ,
    "variables.explain": Scope.READ,
    "variables.create": Scope.MANAGE,
    "variables.update": Scope.MANAGE,
    "variables.delete": Scope.MANAGE,
    "flows.list": Scope.READ,
    "flows.get": Scope.READ,
    "flows.download": Scope.READ,
    "flows.create": Scope.MANAGE,
    "flows.update": Scope.MANAGE,
    "flows.put": Scope.MANAGE,
    "flows.delete": Scope.MANAGE,
    "flows.delete_many": Scope.MANAGE,
    "flows.batch": Scope.MANAGE,
    "flows.upload": Scope.MANAGE,
    "flows.basic_examples": None,
    "flows.public_flow": None,
    "mcp_servers.list": Scope.READ,
    "mcp_servers.get": Scope.READ,
    "mcp_servers.create": Scope.MANAGE,
    "mcp_servers.update": Scope.MANAGE,
    "mcp_servers.delete": Scope.MANAGE,
    "projects.list": Scope.READ,
    "projects.get": Scope.READ,
    "projects.download": Scope.READ,
    "projects.create": Scope.MANAGE,
    "projects.update": Scope.MANAGE,
    "projects.put": Scope.MANAGE,
    "projects.delete": Scope.MANAGE,
    "projects.upload": Scope.MANAGE,
    "files.upload": Scope.RUN,
    "files.download": Scope.READ,
    "files.image": Scope.READ,
    "files.list": Scope.READ,
    "files.delete": Scope.MANAGE,
    "files_v2.upload": Scope.RUN,
    "files_v2.list": Scope.READ,
    "files_v2.get": Scope.READ,
    "files_v2.download_many": Scope.READ,
    "files_v2.rename": Scope.MANAGE,
    "files_v2.delete": Scope.MANAGE,
    "files_v2.delete_many": Scope.MANAGE,
    "files_v2.delete_all": Scope.MANAGE,
    "mcp.message": Scope.RUN,
    "mcp.post": Scope.RUN,
    "mcp.stream": Scope.RUN,
    "mcp.nothing": Scope.RUN,
    "mcp.project_message": Scope.RUN,
    "mcp.project_post": Scope.RUN,
    "mcp.project_stream": Scope.RUN,
    "mcp.project_nothing": Scope.RUN,
    "mcp_projects.get": Scope.READ,
    "mcp_projects.update": Scope.MANAGE,
    "messages.list": Scope.READ,
    "messages.sessions": Scope.READ,
    "messages.update": Scope.MANAGE,
    "messages.rename_session": Scope.MANAGE,
    "messages.delete": Scope.MANAGE,
    "messages.delete_session": Scope.MANAGE,
    "messages.delete_sessions": Scope.MANAGE,
    "openai.responses": Scope.RUN,
    "openai.chat_completions": Scope.RUN,
    "openai.models": Scope.RUN,
    "openai.model": Scope.RUN,
    "runs.run": Scope.RUN,
    "runs.advanced": Scope.RUN,
    "runs.webhook": Scope.RUN,
    "runs.process": Scope.RUN,
    "runs.predict": Scope.RUN,
    # Whoever starts a job may see what came of it; ``jobs.Viewer`` keeps it to that, without the scope to read.
    "jobs.list": Scope.RUN,
    "jobs.get": Scope.RUN,
    "jobs.cancel": Scope.RUN,
    "workflows.start": Scope.RUN,
    "workflows.status": Scope.RUN,
    "workflows.stop": Scope.RUN,
}

#: Routes that name their flow in the path, where a key with a list of flows is judged by it.
_FLOW_IN_PATH = frozenset({"flows.get", "files.upload", "files.download", "files.image", "files.list"})
#: What such a key may reach beyond routes without a scope; these apply the list themselves. All else is closed to it.
OPEN_TO_FLOW_KEYS = _FLOW_IN_PATH | {
    "flows.list", "jobs.cancel", "jobs.get", "jobs.list", "mcp.message", "mcp.nothing", "mcp.post",
    "mcp.project_message", "mcp.project_nothing", "mcp.project_post", "mcp.project_stream", "mcp.stream",
    "openai.chat_completions", "openai.model", "openai.models", "openai.responses", "projects.download",
    "projects.get", "projects.list", "runs.advanced", "runs.run", "runs.webhook", "workflows.start",
    "workflows.status", "workflows.stop",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rate:
    """So many requests in so many seconds."""

    requests: int
    seconds: int


@dataclass(frozen=True, slots=True)
class Rights:
    """What a key is limited to; None: not limited in that."""

    scopes: frozenset[Scope] | None = None
    flows: frozenset[uuid.UUID] | None = None
    networks: tuple[Network, ...] | None = None
    rate: Rate | None = None
    max_parallel: int | None = None

    @property
    def are_all(self) -> bool:
        """True when nothing is limited."""
        return self == _ALL

    def allow(self, scope: Scope) -> bool:
        """Say whether an act of that kind is allowed."""
        return self.scopes is None or scope in _closure(self.scopes)

    def allow_flow(self, flow_id: uuid.UUID) -> bool:
        """Say whether that flow may be touched."""
        return self.flows is None or flow_id in self.flows

    def admit(self, address: str | None) -> bool:
        """Say whether a request may come from an address; one that cannot be read comes from nowhere."""
        if self.networks is None:
            return True
        try:
            peer = ip_address((address or "").partition("%")[0])
        except ValueError:
            return False
        if isinstance(peer, IPv6Address) and peer.ipv4_mapped is not None:
            peer = peer.ipv4_mapped
        return any(peer in network for network in self.networks)


_ALL = Rights()


def check_route(rights: Rights, endpoint: str, flow_id: str | None) -> None:
    """Refuse a request that the rights of its key do not cover.

    Args:
        rights: of the key.
        endpoint: the matched one.
        flow_id: the flow that the path names, as it came.

    Raises:
        Forbidden: a scope is missing, or the key is for some flows only and the route is not about them.
        NotFound: the flow is none of the key's; the same as for one that does not exist.
    """
    scope = ROUTES[endpoint]
    if scope is None:
        return
    if not rights.allow(scope):
        raise Forbidden(f"This API key lacks the scope {scope.value}", code="scope_required")
    if rights.flows is None:
        return
    if endpoint not in OPEN_TO_FLOW_KEYS:
        raise Forbidden("This API key is limited to some flows", code="scope_required")
    if endpoint in _FLOW_IN_PATH and not _is_one_of(rights, flow_id):
        raise NotFound("Flow not found")


def check_grant(maker: Rights | None, maker_expires: datetime | None, made: Rights, expires: datetime | None) -> None:
    """Refuse to make or edit a key that may do more than the key that asks for it.

    Args:
        maker: rights of the key that asks; None: a session, or a key without limits.
        maker_expires: when that key ends.
        made: rights of the other key.
        expires: when the other key ends.

    Raises:
        Forbidden: names what is more.
    """
    if maker_expires is not None and (expires is None or expires > maker_expires):
        raise Forbidden(
            f"This API key expires at {maker_expires.isoformat(timespec='seconds')} and can make or change only keys "
            "that do not live longer",
            code="more_than_itself",
        )
    if maker is None:
        return
    if maker.rate is not None or maker.max_parallel is not None:
        # Many keys, each within the limit, would have no limit together.
        raise Forbidden(
            "An API key with a limit on requests or runs makes and changes no keys", code="more_than_itself"
        )
    for name in _beyond(maker, made):
        raise Forbidden(
            f"The other key may do more than this API key: limit its {name} to what this one has",
            code="more_than_itself",
        )


def rights_from(
    scopes: Iterable[str] | None,
    flows: Iterable[str] | None,
    networks: Iterable[str] | None,
    rate: Rate | None,
    max_parallel: int | None,
) -> Rights:
    """Build rights from the texts that are stored or sent.

    Raises:
        Invalid: names the field and the entry that cannot be read.
    """
    return Rights(
        scopes=None if scopes is None else frozenset(_scope(text) for text in _few(scopes, "scopes")),
        flows=None if flows is None else frozenset(_flow(text) for text in _few(flows, "flows")),
        networks=None if networks is None else tuple(_network(text) for text in _few(networks, "networks")),
        rate=rate,
        max_parallel=max_parallel,
    )


def _beyond(maker: Rights, made: Rights) -> Iterator[str]:
    """Yield the names of what the maker is limited in and the made one goes beyond."""
    if maker.scopes is not None and (made.scopes is None or not _closure(made.scopes) <= _closure(maker.scopes)):
        yield "scopes"
    if maker.flows is not None and (made.flows is None or not made.flows <= maker.flows):
        yield "flows"
    if maker.networks is not None and (made.networks is None or not _inside(made.networks, maker.networks)):
        yield "networks"


@cache
def _closure(scopes: frozenset[Scope]) -> frozenset[Scope]:
    return scopes.union(*(IMPLIED.get(scope, set()) for scope in scopes))


def _inside(made: tuple[Network, ...], maker: tuple[Network, ...]) -> bool:
    return all(any(_is_subnet(one, other) for other in maker) for one in made)


def _is_subnet(one: Network, other: Network) -> bool:
    if isinstance(one, IPv4Network):
        return isinstance(other, IPv4Network) and one.subnet_of(other)
    return isinstance(other, IPv6Network) and one.subnet_of(other)


def _is_one_of(rights: Rights, flow_id: str | None) -> bool:
    try:
        return rights.allow_flow(uuid.UUID(flow_id or ""))
    except ValueError:
        return False


def _few(texts: Iterable[str], field: str) -> list[str]:
    found = list(texts)
    if len(found) > MOST_ENTRIES:
        raise Invalid.field(f"List should have at most {MOST_ENTRIES} items", "body", field, kind="too_long")
    return found


def _scope(text: str) -> Scope:
    try:
        return Scope(text)
    except ValueError:
        known = ", ".join(f"'{scope.value}'" for scope in Scope)
        raise Invalid.field(f"Input should be {known}", "body", "scopes", kind="enum") from None


def _flow(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError:
        raise Invalid.field("Input should be a valid UUID", "body", "flows", kind="uuid_parsing") from None


def _network(text: str) -> Network:
    try:
        network = ip_network(text)
    except ValueError:
        raise Invalid.field(
            f"Value error, {text!r} is not a network such as 203.0.113.0/24, 198.51.100.7 or 2001:db8::/32", "body",
            "networks",
        ) from None  # fmt: skip
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    if mapped is not None and network.prefixlen >= 96:
        # Peers of mapped addresses are compared in their short form.
        return IPv4Network((mapped, network.prefixlen - 96))
    return network
