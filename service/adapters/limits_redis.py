"""Limits counted in Redis, for many hosts and many requests."""

from __future__ import annotations

import secrets
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from service.domain.errors import LimitsAway
from service.domain.ports import Standing

_PREFIX = "keyturn:limit:"
_TIMEOUT_SECONDS = 0.5

#: KEYS: the counter. ARGV: most, milliseconds. Gives whether it was counted, the count, and milliseconds left.
_HIT = """
local count = tonumber(redis.call('GET', KEYS[1]) or '0')
local left = redis.call('PTTL', KEYS[1])
if count > 0 and (left < 0 or left > tonumber(ARGV[2])) then
  redis.call('DEL', KEYS[1])
  count = 0
end
if count >= tonumber(ARGV[1]) then
  return {0, count, left}
end
count = redis.call('INCR', KEYS[1])
if count == 1 or redis.call('PTTL', KEYS[1]) < 0 then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return {1, count, redis.call('PTTL', KEYS[1])}
"""
_FORGIVE = """
if tonumber(redis.call('GET', KEYS[1]) or '0') > 0 then
  redis.call('DECR', KEYS[1])
end
"""
#: KEYS: the places. ARGV: most, milliseconds of the lease, token. Times are Redis's own: hosts need not agree.
_ENTER = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[1]) then
  return 0
end
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
"""


class RedisLimits:
    """Implements ``LimitStore``.

    Args:
        url: such as ``redis://127.0.0.1:6379/0``.
    """

    def __init__(self, url: str) -> None:
        self._client = redis.Redis.from_url(
            url,
            socket_timeout=_TIMEOUT_SECONDS,
            socket_connect_timeout=_TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 1),
        )
        self._hit = self._client.register_script(_HIT)
        self._forgive = self._client.register_script(_FORGIVE)
        self._enter = self._client.register_script(_ENTER)

    def hit(self, subject: str, most: int, seconds: int) -> Standing:
        allowed, count, left = self._run(self._hit, subject, most, seconds * 1000)
        return Standing(allowed=bool(allowed), remaining=max(0, most - count), resets=left / 1000)

    def forgive(self, subject: str) -> None:
        self._run(self._forgive, subject)

    def enter(self, subject: str, most: int, lease: float) -> str | None:
        token = secrets.token_hex(16)
        return token if self._run(self._enter, f"{subject}:places", most, int(lease * 1000), token) else None

    def leave(self, subject: str, token: str) -> None:
        try:
            self._client.zrem(f"{_PREFIX}{subject}:places", token)
        except redis.RedisError:
            raise LimitsAway from None

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()

    @staticmethod
    def _run(script: redis.commands.core.Script, subject: str, *arguments: str | int) -> Any:
        try:
            return script(keys=[_PREFIX + subject], args=list(arguments))
        except redis.RedisError:
            raise LimitsAway from None
