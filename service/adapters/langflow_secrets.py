"""Opening what Langflow encrypted.

Sources: ``ensure_valid_key`` in ``langflow/services/auth/utils.py`` of 1.5.1; ``ensure_fernet_key`` and
``_ensure_legacy_fernet_key`` in the same file of 1.13.0, which changed the form for short secrets in 1.10.1.
"""

from __future__ import annotations

import base64
import hashlib
import random

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

_SHORT = 32
#: How every Fernet token begins; anything else is clear text.
MARK = "gAAAAA"


class LangflowSecretError(Exception):
    """The secret cannot be Langflow's; the text is one line."""


class LangflowSecret:
    """Opens values with Langflow's secret, in every form that a version of it derived a key.

    Args:
        secret: the content of Langflow's ``secret_key`` file, or of its LANGFLOW_SECRET_KEY.

    Raises:
        LangflowSecretError: Langflow could not have worked with it.
    """

    def __init__(self, secret: str) -> None:
        try:
            if len(secret) < _SHORT:
                self._fernet = MultiFernet([Fernet(_hashed(secret)), Fernet(_seeded(secret))])
            else:
                self._fernet = MultiFernet([Fernet(secret + "=" * (4 - len(secret) % 4))])
        except ValueError:
            raise LangflowSecretError(
                "this is no secret of Langflow's: those of 32 or more characters are 32 bytes in base64"
            ) from None

    def open(self, text: str) -> str | None:
        """Return the clear text; None when the secret does not open it."""
        if not text.startswith(MARK):
            return text
        try:
            return self._fernet.decrypt(text.encode()).decode()
        except (InvalidToken, UnicodeDecodeError):
            return None


def _hashed(secret: str) -> bytes:
    return base64.urlsafe_b64encode(hashlib.sha256(secret.encode()).digest())


def _seeded(secret: str) -> bytes:
    # Weak on purpose of compatibility: this is how Langflow made keys of short secrets until 1.10. Only for reading.
    source = random.Random(secret)  # noqa: S311 # nosec B311
    return base64.urlsafe_b64encode(bytes(source.getrandbits(8) for _ in range(32)))
