"""Health, version and config (contract 1.2)."""

from __future__ import annotations

from typing import Any

from flask import Response, jsonify
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from service import boot
from service.domain.projects import DEFAULT_NAME
from service.http.db import services
from service.http.parsing import Blueprint
from service.http.policy import visitor

blueprint = Blueprint("monitor", __name__, description="Health, version and config")

#: What 1.13 tells anybody. Where Keyturn has no use for a field, it is what a plain Langflow sends.
_PUBLIC: dict[str, Any] = {
    "feature_flags": {
        "wxo_deployments": False,
        "mvp_components": False,
        "instance_migration": False,
        "data_subject_requests": False,
    },
    "event_delivery": "streaming",
    "voice_mode_available": False,
    "frontend_timeout": 0,
    "enable_extension_reload": False,
    "authz_enabled": False,
    "catalog_governance_enabled": False,
    # Every component is this server's own, or lfx's.
    "substitute_outdated_component_code": True,
}
#: What it tells callers whom it knows, beside that.
_MORE: dict[str, Any] = {
    "serialization_max_items_length": 1000,
    "serialization_max_text_length": 6000,
    "health_check_max_retries": 5,
    "webhook_polling_interval": 0,
    "public_flow_cleanup_interval": 3600,
    "public_flow_expiration": 86400,
    # The start is refused where it would be false.
    "webhook_auth_enable": True,
    "default_folder_name": DEFAULT_NAME,
    "hide_getting_started_progress": False,
    "embedded_mode": False,
    "hide_logout_button": False,
    "hide_new_project_button": False,
    "hide_new_flow_button": False,
    "hide_starter_projects": False,
    "custom_component_admin_only": False,
    "a2a_enabled": False,
    "agentic_experience": False,
    "assistant_max_message_length": 2000,
    "local_vector_store_available": False,
    "default_vector_store_backend": "sqlite",
    "configured_vector_store_backends": [],
    "blocked_component_types": [],
}


@blueprint.get("/health", endpoint="health")
@blueprint.response(200)
def health() -> Response:
    """Say that the process answers; asks nobody."""
    return jsonify({"status": "ok"})


@blueprint.get("/health_check", endpoint="health_check")
@blueprint.response(200)
def health_check() -> Response:
    """Say whether the database answers too."""
    try:
        with services().engine.connect() as connection:
            connection.execute(text("SELECT 1"))
    except SQLAlchemyError:
        failed = jsonify({"detail": {"status": "nok", "chat": "ok", "db": "error check the server logs"}})
        failed.status_code, failed.headers["Retry-After"] = 503, "1"
        return failed
    return jsonify({"status": "ok", "chat": "ok", "db": "ok"})


@blueprint.get("/ready", endpoint="ready")
@blueprint.response(200)
def ready() -> Response:
    """Say whether requests can be served: the database answers, is at this code's version, and the secret fits it."""
    own = services()
    found = boot.readiness(own.engine, own.vault)
    if set(found.values()) == {"ok"}:
        return jsonify({"status": "ready", **found})
    refused = jsonify({"detail": {"status": "not ready", **found}})
    refused.status_code, refused.headers["Retry-After"] = 503, "1"
    return refused


@blueprint.get("/api/v1/version", endpoint="version")
@blueprint.response(200)
def version() -> Response:
    """Say which Langflow version is served: clients choose their behaviour by it."""
    served = services().settings.langflow_version
    return jsonify({"version": served, "main_version": served, "package": "Langflow"})


@blueprint.get("/api/v1/config", endpoint="config")
@blueprint.response(200)
def config() -> Response:
    """Show what clients read at start; more of it to somebody who is known."""
    settings = services().settings
    told = {
        "max_file_size_upload": settings.max_file_size_upload_mb,
        "mcp_base_url": settings.mcp_base_url,
        # The embedded engine runs no code of a flow, whatever the setting says.
        "allow_custom_components": settings.allow_custom_components and services().lfx is not None,
    }
    if visitor() is None:
        return jsonify(_PUBLIC | told | {"type": "public"})
    more = {name: getattr(settings, name) for name in ("auto_saving", "auto_saving_interval", "mcp_servers_locked")}
    return jsonify(_PUBLIC | told | {"type": "full"} | _MORE | more)
