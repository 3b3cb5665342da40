"""How a setting is read of the environment, by its kind: numbers, choices, lists, addresses, paths."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import environs
from dotenv import dotenv_values

#: unix(7): sun_path has 108 bytes, the last of which is 0.
_LONGEST_SOCKET = 107


class SettingsError(Exception):
    """The configuration cannot be used.

    Args:
        problems: one line each: the setting, what is wrong, one way to mend it.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def read_env_file(path: Path | None) -> dict[str, str]:
    """Return what a file says; without a path, what ``.env`` of the current directory says, if it is there.

    Raises:
        SettingsError: the file is not there, or is no text.
    """
    if path is not None and not path.is_file():
        raise SettingsError([f"--env-file {path}: there is no such file; check the path"])
    chosen = path or Path(".env")
    if not chosen.is_file():
        return {}
    try:
        found = dotenv_values(chosen)
    except (OSError, UnicodeDecodeError):
        raise SettingsError([f"{chosen} cannot be read: it must be text in UTF-8 that this user may open"]) from None
    return {name: value for name, value in found.items() if value is not None}


class Env(environs.Env):
    """environs over one mapping: the env file must win over the process, which environs cannot do."""

    def __init__(self, values: Mapping[str, str]) -> None:
        super().__init__(eager=False)
        # An empty value is how env files write "not set".
        self._given = {name: value for name, value in values.items() if value.strip() != ""}

    def _get_value(self, env_key: str, default: Any) -> Any:
        return self._given.get(env_key, default)


class Environment:
    """Values by name, read by their kind; it collects what is wrong instead of stopping at the first."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self.env = Env(values)
        self.problems: list[str] = []

    def seal(self) -> None:
        """Add what ``env`` has found wrong by itself."""
        try:
            self.env.seal()
        except environs.EnvValidationError as error:
            messages = error.error_messages
            # environs types the messages as it types a field's; sealing always gives a mapping.
            for name, texts in messages.items() if isinstance(messages, Mapping) else ():
                self.problems.append(f"{name}: {' '.join(map(str, texts))} See docs/settings.md.")

    def positive(self, name: str, default: int, most: int = 2**53, *, least: int = 1) -> int:
        """A whole number."""
        value: int | None = self.env.int(name, default)
        if value is not None and not least <= value <= most:
            self.problems.append(f"{name} is {value}: it must be a whole number from {least} to {most}")
        return value if value is not None else default

    def one_of(self, name: str, default: str, allowed: tuple[str, ...]) -> str:
        """One of a few words, in any case."""
        value: str = self.env.str(name, default).lower()
        if value not in allowed:
            self.problems.append(f"{name} is {value!r}: it must be one of {', '.join(allowed)}")
        return value

    def socket(self, name: str) -> Path | None:
        """A path that a socket can have."""
        path: Path | None = self.env.path(name, None)
        if path is None:
            return None
        path = path.expanduser().absolute()
        if len(os.fsencode(path)) > _LONGEST_SOCKET:
            self.problems.append(f"{name} has more than {_LONGEST_SOCKET} bytes: choose a shorter path")
        return path

    def public_url(self, name: str) -> str:
        """An address that everybody is told, so it must hold no password; empty: none."""
        text: str = self.env.str(name, "").strip().rstrip("/")
        if text and not re.fullmatch(r"https?://[^/?#@\s]+(/[^?#@\s]*)?", text):
            self.problems.append(f"{name} is no address such as https://keyturn.example (without a name or password)")
        return text

    def names(self, name: str) -> list[str]:
        """A list, written with commas or as JSON, as Langflow accepts both."""
        text: str = self.env.str(name, "").strip()
        if text.startswith("["):
            try:
                found = json.loads(text)
            except ValueError:
                found = None
            if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
                self.problems.append(f"{name} is not a JSON list of names: write NAME1,NAME2 instead")
                return []
            return found
        return [part.strip() for part in text.split(",") if part.strip()]

    def url(self, name: str, schemes: tuple[str, ...], example: str) -> str:
        """An address of a service, which may hold a password; empty: none."""
        text: str = self.env.str(name, "")
        if text and not text.startswith(tuple(f"{scheme}://" for scheme in schemes)):
            # The text may hold a password, so it is not repeated.
            self.problems.append(f"{name} is not a URL such as {example}")
        return text

    def origins(self, name: str) -> tuple[str, ...]:
        """A list of origins of pages."""
        found = tuple(text.lower() for text in self.names(name))
        for text in found:
            if not re.fullmatch(r"https?://[^/?#@*\s]+", text):
                self.problems.append(f"{name} names {text!r}: write an origin such as https://keyturn.example:8443")
        return found

    def ports(self, name: str) -> tuple[int, ...] | None:
        """Numbers of ports; ``all`` is None."""
        texts = self.names(name)
        if texts == ["all"]:
            return None
        if not all(re.fullmatch(r"[0-9]{1,5}", text) and 1 <= int(text) <= 65_535 for text in texts):
            self.problems.append(f"{name} is a list of TCP ports such as 443,80, or all; leave it empty for none")
            return ()
        return tuple(map(int, texts))
