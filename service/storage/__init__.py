"""Models, column types and the engine: no policy and no configuration."""

from service.storage.base import Base
from service.storage.files import UploadedFileRow
from service.storage.flows import Flow, Project
from service.storage.keys import ApiKey
from service.storage.messages import StoredChatMessage
from service.storage.secrets import SecretCheck
from service.storage.users import SessionToken, User
from service.storage.variables import Variable

__all__ = [
    "ApiKey",
    "Base",
    "Flow",
    "Project",
    "SecretCheck",
    "SessionToken",
    "StoredChatMessage",
    "UploadedFileRow",
    "User",
    "Variable",
]
