"""The text of an API key: how it is made, recognised and stored."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import zlib

PREFIX = "sk-"
SHOWN = 8
_RANDOM_LENGTH = 43
_CHECKSUM_LENGTH = 6
#: How long a key of Langflow is, which has no checksum.
PLAIN_LENGTH = len(PREFIX) + _RANDOM_LENGTH
#: How long a key is at most.
LENGTH = len(PREFIX) + _RANDOM_LENGTH + 1 + _CHECKSUM_LENGTH
_ALPHABET = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def generate() -> str:
    """Return a new key: ``sk-``, 32 random bytes, ``_`` and a checksum."""
    return _written(secrets.token_bytes(32))


def derived(secret: bytes, *parts: str) -> str:
    """Return the one key that belongs to these parts under a secret of 32 bytes (HMAC-SHA-256, RFC 2104).

    For a rotation that may be asked for twice: the second answer is the first one, and nothing had to be stored.
    """
    message = b"".join(len(part.encode()).to_bytes(4, "big") + part.encode() for part in parts)
    return _written(hmac.digest(secret, message, "sha256"))


def digest(key: str) -> str:
    """Return the hex SHA-256 under which a key is stored and looked up.

    A slow hash protects passwords that people choose; these are 256 random bits.
    """
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def is_well_formed(key: str) -> bool:
    """Say whether a text can be a key at all, so that a typo or an attack costs no query.

    Keys made by Langflow have no checksum and stay valid.
    """
    if not key.startswith(PREFIX) or not _ALPHABET.issuperset(key):
        return False
    if len(key) == len(PREFIX) + _RANDOM_LENGTH:
        return True
    body, mark, checksum = key[: -_CHECKSUM_LENGTH - 1], key[-_CHECKSUM_LENGTH - 1 :][:1], key[-_CHECKSUM_LENGTH:]
    return len(body) == len(PREFIX) + _RANDOM_LENGTH and mark == "_" and _checksum(body) == checksum


def _written(random: bytes) -> str:
    body = PREFIX + base64.urlsafe_b64encode(random).rstrip(b"=").decode()
    return f"{body}_{_checksum(body)}"


def _checksum(body: str) -> str:
    number = zlib.crc32(body.encode())
    text = ""
    for _ in range(_CHECKSUM_LENGTH):
        number, rest = divmod(number, 62)
        text = _BASE62[rest] + text
    return text
