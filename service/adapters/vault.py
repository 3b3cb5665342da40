"""Encryption of stored values: Fernet under keys derived from the server's secrets."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import secrets
import tempfile
from collections.abc import Sequence
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from service.domain.errors import NotDecryptable

#: One label per purpose: what is derived for one cannot be used for another (RFC 5869, section 3.2).
_VALUES, _ID, _ROTATION = b"keyturn values v1", b"keyturn key id v1", b"keyturn key rotation v1"
_SECRET_FILE = "secret_key"  # noqa: S105 - a file's name, the same as Langflow's # nosec B105
CHECK_TEXT = "keyturn"


class FernetVault:
    """Encrypts with the first secret and decrypts with whichever one the ciphertext names.

    Stored form: ``kt1:KEY_ID:FERNET_TOKEN``.

    Args:
        secret: the server's secret, any text of 32 or more characters.
        previous: older secrets, still good for reading.
    """

    def __init__(self, secret: str, previous: Sequence[str] = ()) -> None:
        self.key_id = _key_id(secret)
        #: 32 bytes that API keys are derived from where a rotation must be repeatable.
        self.rotation_secret = _derive(secret, _ROTATION, 32)
        self._ring = {_key_id(one): Fernet(_fernet_key(one)) for one in (*previous, secret)}

    def encrypt(self, text: str) -> str:
        return f"kt1:{self.key_id}:{self._ring[self.key_id].encrypt(text.encode()).decode()}"

    def decrypt(self, stored: str) -> str:
        try:
            form, key_id, token = stored.split(":", 2)
            if form != "kt1":
                raise ValueError(form)
            return self._ring[key_id].decrypt(token.encode()).decode()
        except (InvalidToken, KeyError, ValueError):
            raise NotDecryptable("A stored value cannot be decrypted with this server's secret.") from None

    def knows(self, key_id: str) -> bool:
        """Say whether this vault has the secret of that id."""
        return key_id in self._ring


def secret_from(config_dir: Path, given: str) -> tuple[str, str]:
    """Return the secret and where it comes from, in words; makes the file where there is none.

    The file is made at once or not at all, so that workers that start together agree, and an existing
    one is never overwritten: it may be the only copy.
    """
    if given:
        return given, "LANGFLOW_SECRET_KEY"
    path = config_dir / _SECRET_FILE
    if not path.exists():
        config_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(dir=config_dir, prefix=".secret_key-")  # 0600
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_urlsafe(48))
        # A link is made whole or fails: of several processes one wins, and all read the winner's.
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
        Path(draft).unlink()
    return path.read_text("utf-8").strip(), str(path)


def _derive(secret: str, label: bytes, length: int) -> bytes:
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=label).derive(secret.encode())


def _fernet_key(secret: str) -> bytes:
    return base64.urlsafe_b64encode(_derive(secret, _VALUES, 32))


def _key_id(secret: str) -> str:
    return hashlib.sha256(_derive(secret, _ID, 32)).hexdigest()[:12]
