"""How a setting is read of the environment, by its kind: numbers, choices, lists, addresses, paths, secrets."""

from __future__ import annotations

import ipaddress
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import environs
from dotenv import dotenv_values
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

#: unix(7): sun_path has 108 bytes, the last of which is 0.
_LONGEST_SOCKET = 107
_SHORTEST_SECRET, _FEWEST_CHARACTERS = 32, 8
#: The largest whole number that JSON's readers hold exactly (RFC 8259, section 6).
_NO_MOST = 2**53
_LONGEST_SHOWN = 40
#: What environs says of a value, and what should be there.
_KINDS = {"Not a valid integer.": "a whole number", "Not a valid boolean.": "true or false"}

_Path = TypeVar("_Path", bound=Path | None)


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
        self.given = {name: value for name, value in values.items() if value.strip() != ""}

    def _get_value(self, env_key: str, default: Any) -> Any:
        return self.given.get(env_key, default)


class Environment:
    """Values by name, read by their kind; it collects what is wrong instead of stopping at the first.

    Each kind is a method of a name and of what counts when the name is not set.
    """

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
                told = self.env.given[name][:_LONGEST_SHOWN]
                self.problems.append(f"{name} is {told!r}: it must be {_KINDS.get(texts[0], 'of another kind')}")

    def flag(self, name: str, default: bool) -> bool:
        """Yes or no."""
        value: bool = self.env.bool(name, default)
        return value

    def is_not(self, name: str, default: bool) -> bool:
        """Yes or no, of a name that says the opposite."""
        return not self.flag(name, not default)

    def text(self, name: str, default: str | None) -> str | None:
        """Anything."""
        value: str | None = self.env.str(name, default)
        return value

    def path(self, name: str, default: _Path) -> Path | _Path:
        """A file or a folder."""
        value: Path | None = self.env.path(name, None)
        return default if value is None else value

    def number(self, name: str, default: int | None, most: int = _NO_MOST, *, least: int = 1) -> int | None:
        """A whole number."""
        value: int | None = self.env.int(name, default)
        if value is not None and not least <= value <= most:
            limits = f"{least} or more" if most == _NO_MOST else f"from {least} to {most}"
            self.problems.append(f"{name} is {value}: it must be a whole number, {limits}")
        return value if value is not None else default

    def seconds(self, name: str, default: float, most: int = _NO_MOST) -> float:
        """A whole number, for what is reckoned with in fractions."""
        return float(self.number(name, int(default), most) or 0)

    def choice(self, name: str, default: str, among: tuple[str, ...]) -> str:
        """One of a few words, in any case."""
        value: str = self.env.str(name, default).lower()
        if value not in among:
            self.problems.append(f"{name} is {value!r}: it must be one of {', '.join(among)}")
        return value

    def names(self, name: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
        """A list, written with commas or as JSON, as Langflow accepts both."""
        text: str = self.env.str(name, "").strip()
        if not text:
            return default
        if text.startswith("["):
            try:
                found = json.loads(text)
            except ValueError:
                found = None
            if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
                self.problems.append(f"{name} is not a JSON list of names: write NAME1,NAME2 instead")
                return default
            return tuple(found)
        return tuple(part.strip() for part in text.split(",") if part.strip())

    def whole_path(self, name: str, default: _Path) -> Path | _Path:
        """A file or a folder, from the root on. Links stay: an interpreter finds its environment by its own."""
        path = self.path(name, default)
        try:
            return path if path is None else path.expanduser().absolute()
        except RuntimeError:
            self.problems.append(f"{name} is {str(path)!r}: there is no such user; write the whole path")
            return path

    def socket(self, name: str, default: Path | None) -> Path | None:
        """A path that a socket can have."""
        path = self.whole_path(name, default)
        if path is not None and len(os.fsencode(path)) > _LONGEST_SOCKET:
            self.problems.append(f"{name} has more than {_LONGEST_SOCKET} bytes: choose a shorter path")
        return path

    def host(self, name: str, default: str) -> str:
        """A host to listen on."""
        host: str = self.env.str(name, default)
        return "127.0.0.1" if host == "localhost" else host

    def ports(self, name: str, default: tuple[int, ...]) -> tuple[int, ...] | None:
        """Numbers of ports; ``all`` is None."""
        texts = self.names(name)
        if texts == ("all",):
            return None
        if not all(re.fullmatch(r"[0-9]{1,5}", text) and 1 <= int(text) <= 65_535 for text in texts):
            self.problems.append(f"{name} is a list of TCP ports such as 443,80, or all; leave it empty for none")
            return default
        return tuple(map(int, texts)) or default

    def public_url(self, name: str, default: str) -> str:
        """An address that everybody is told, so it must hold no password; empty: none."""
        text: str = self.env.str(name, default).strip().rstrip("/")
        if text and not re.fullmatch(r"https?://[^/?#@\s]+(/[^?#@\s]*)?", text):
            self.problems.append(f"{name} is no address such as https://keyturn.example (without a name or password)")
        return text

    def prefix(self, name: str, default: str) -> str:
        """The front of a path, as ``/langflow``; empty: none."""
        text: str = self.env.str(name, default).strip().strip("/")
        if not re.fullmatch(r"[A-Za-z0-9._~/-]*", text):
            self.problems.append(f"{name} is {text!r}: it must be the front of a path, such as /langflow")
            return default
        return f"/{text}" if text else ""

    def url(self, name: str, default: str, schemes: tuple[str, ...], example: str) -> str:
        """An address of a service, which may hold a password; empty: none."""
        text: str = self.env.str(name, default)
        if text and not text.startswith(tuple(f"{scheme}://" for scheme in schemes)):
            # The text may hold a password, so it is not repeated.
            self.problems.append(f"{name} is not a URL such as {example}")
        return text

    def database_url(self, name: str, default: str) -> URL:
        """SQLite or PostgreSQL, with the driver that is used."""
        text: str = self.env.str(name, default)
        try:
            url = make_url(text)
        except (ArgumentError, ValueError):
            # The text may hold a password, so it is not repeated.
            self.problems.append(f"{name} is not a URL such as postgresql://user@host:5432/name")
            return make_url("sqlite://")
        backend = url.get_backend_name()
        if backend in {"postgresql", "postgres"}:
            return url.set(drivername="postgresql+psycopg")
        if backend == "sqlite":
            return url.set(drivername="sqlite")
        self.problems.append(f"{name} names {backend}: use sqlite:///FILE or postgresql://user@host:5432/name")
        return url

    def origins(self, name: str, default: tuple[str, ...], *, may_be_all: bool = False) -> tuple[str, ...]:
        """Origins as browsers write them: without a path, and without the port that goes without saying.

        ``null`` is what every sandboxed page and every local file says of itself, so it names nobody. ``*`` is all.
        """
        found = tuple(text.lower() for text in self.names(name, default))
        for text in found:
            if not (text == "*" and may_be_all) and not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^/?#@*,\s]+", text):
                self.problems.append(
                    f"{name} names {text!r}: write an origin such as https://keyturn.example:8443, without a path "
                    f"or a pattern{', or * alone' if may_be_all else ''}"
                )
        return tuple(re.sub(r"^(http://.*):80$|^(https://.*):443$", r"\1\2", text) for text in found)

    def secret(self, name: str, default: str) -> str:
        """A text that nobody can guess; empty: none."""
        value: str = self.env.str(name, default)
        if value:
            self._judge_secret(name, value)
        return value

    def secrets(self, name: str, default: tuple[str, ...]) -> tuple[str, ...]:
        """A list of such texts."""
        values = self.names(name, default)
        for value in values:
            self._judge_secret(name, value)
        return values

    def _judge_secret(self, name: str, value: str) -> None:
        if len(value) < _SHORTEST_SECRET:
            self.problems.append(
                f"{name} has {len(value)} characters and needs {_SHORTEST_SECRET} or more: make one with "
                "`openssl rand -hex 32`"
            )
        elif len(set(value)) < _FEWEST_CHARACTERS:
            self.problems.append(f"{name} can be guessed: make one with `openssl rand -hex 32`")

    def version(self, name: str, default: str) -> str:
        """A version of Langflow."""
        value: str = self.env.str(name, default)
        if not re.fullmatch(r"\d{1,3}\.\d{1,3}(\.\d{1,3})?", value):
            self.problems.append(f"{name} is {value!r}: it must be a Langflow version such as {default}")
            return default
        return value

    def model(self, name: str, default: str | None) -> str | None:
        """``Provider/model``."""
        text: str | None = self.env.str(name, default)
        if text is not None and not all(part.strip() for part in text.partition("/")):
            self.problems.append(f"{name} is {text!r}: write it as Provider/model, as OpenAI/gpt-4o-mini")
        return text

    def metrics(self, name: str, default: str) -> str:
        """``off``, ``key``, or an address and a port."""
        text: str = self.env.str(name, default).lower()
        if text in {"off", "key"}:
            return text
        host, _, port = text.rpartition(":")
        try:
            ipaddress.ip_address(host.strip("[]"))
            is_sound = port.isascii() and 0 < int(port) < 65_536
        except ValueError:
            is_sound = False
        if not is_sound:
            self.problems.append(f"{name} is {text!r}: it must be off, key, or an address such as 127.0.0.1:9090")
            return default
        return text
