"""Models, column types and the engine: no policy and no configuration."""

from service.storage.audit import AuditEvent
from service.storage.base import Base
from service.storage.files import UploadedFileRow
from service.storage.flows import Flow, Project
from service.storage.jobs import Job
from service.storage.keys import ApiKey, KeyUsage
from service.storage.limits import LimitLease, LimitWindow
from service.storage.mcp import McpCall, McpMail, McpStream
from service.storage.mcp_servers import McpServer
from service.storage.messages import StoredChatMessage
from service.storage.runs import RunRow
from service.storage.secrets import SecretCheck
from service.storage.users import SessionToken, User
from service.storage.variables import Variable

__all__ = [
    "ApiKey",
    "AuditEvent",
    "Base",
    "Flow",
    "Job",
    "KeyUsage",
    "LimitLease",
    "LimitWindow",
    "McpCall",
    "McpMail",
    "McpServer",
    "McpStream",
    "Project",
    "RunRow",
    "SecretCheck",
    "SessionToken",
    "StoredChatMessage",
    "UploadedFileRow",
    "User",
    "Variable",
]
