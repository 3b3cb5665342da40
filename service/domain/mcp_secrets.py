"""Which parts of an MCP server's configuration may be secrets, and how they are shown and taken back.

A secret has a label that stays the same when something else is added or taken away, so that a mask that is sent back
finds the value that it stands for. Where that is in doubt, the mask is refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from service.domain.errors import Invalid
from service.domain.names import sounds_secret

MASK = "********"
Config = dict[str, Any]
Label = tuple[str, ...]
#: Gives what is to stand in place of a secret, by its label and its present value.
Change = Callable[[Label, Any], Any]

#: The parts whose values may each be a secret.
_MAPS = ("env", "headers")


def masked(config: Mapping[str, Any]) -> Config:
    """Return a configuration without anything that may be a secret.

    That is: the values of headers and environment, of options and other fields whose names sound like a secret's,
    and what stands so in the URL.
    """
    return _mapped(config, (), lambda _label, _value: MASK)


def unmasked(sent: Mapping[str, Any], stored: Mapping[str, Any]) -> Config:
    """Put the stored values where the mask was sent back.

    Raises:
        Invalid: a mask stands where nothing is stored, or where the value would not be masked.
    """
    known: dict[Label, Any] = {}

    def kept(label: Label, value: Any) -> Any:
        if value != MASK:
            return value
        if label not in known:
            raise Invalid.field("Value error, the mask stands for no stored value", "body", label[0])
        return known[label]

    _mapped(stored, (), known.setdefault)
    found = _mapped(sent, (), kept)
    if _has_mask(found):
        raise Invalid.field("Value error, a mask stands where nothing is masked", "body")
    return found


def _has_mask(part: Any) -> bool:
    if isinstance(part, dict | list):
        return any(_has_mask(one) for one in (part.values() if isinstance(part, dict) else part))
    return bool(part == MASK)


def _mapped(config: Mapping[str, Any], within: Label, change: Change) -> Config:
    return {name: _part(name, value, (*within, name), change) for name, value in config.items()}


def _part(name: str, value: Any, label: Label, change: Change) -> Any:
    if name in _MAPS and isinstance(value, dict):
        return {key: change((*label, key), one) if one else one for key, one in value.items()}
    if name == "args" and isinstance(value, list):
        return _arguments(value, label, change)
    if name == "url" and isinstance(value, str):
        return _address(value, label, change)
    if sounds_secret(name):
        return change(label, value) if value else value
    if isinstance(value, dict):
        return _mapped(value, label, change)
    if isinstance(value, list):
        return [_part("", one, (*label, str(at)), change) for at, one in enumerate(value)]
    return value


def _arguments(arguments: Sequence[Any], label: Label, change: Change) -> list[Any]:
    found, secrets = list(arguments), list(_secret_arguments(arguments))
    for (at, before, text, _), one in zip(secrets, _numbered([names for *_, names in secrets]), strict=True):
        found[at] = before + change((*label, *one), text)
    taken = {at for at, *_ in secrets}
    places = [at for at, one in enumerate(arguments) if at not in taken and isinstance(one, str) and "://" in one]
    for at, one in zip(places, _numbered([(_without_secrets(arguments[at]),) for at in places]), strict=True):
        found[at] = _address(arguments[at], (*label, *one), change)
    return found


def _secret_arguments(arguments: Sequence[Any]) -> Iterator[tuple[int, str, str, Label]]:
    """Find ``--api-key KEY``, ``--token=KEY``, ``--header 'NAME: VALUE'``, ``--headers NAME VALUE`` and Docker's
    ``-e NAME=VALUE``.

    Yields:
        The place, what stands there before the secret, the secret, and what it is called.
    """
    for at, argument in enumerate(arguments):
        if not isinstance(argument, str) or not argument.startswith("-"):
            continue
        option, equals, value = argument.partition("=")
        following = [one for one in arguments[at + 1 : at + 3] if isinstance(one, str) and one]
        if option == "--headers" and len(following) == 2:
            yield at + 2, "", following[1], (option, following[0].casefold())
        elif option in {"-e", "--env"}:
            place, (name, sign, text) = (at, value.partition("=")) if equals else (at + 1, _pair(following))
            if sign and text:
                yield place, f"{option}={name}=" if equals else f"{name}=", text, (option, name)
        elif not (option in {"-H", "--header"} or sounds_secret(option.lstrip("-"))):
            continue
        elif equals and value:
            yield at, f"{option}=", value, (option,)
        elif following and not equals:
            yield at + 1, "", following[0], (option,)


def _pair(following: Sequence[str]) -> tuple[str, str, str]:
    return following[0].partition("=") if following else ("", "", "")


def _without_secrets(url: str) -> str:
    return _address(url, (), lambda _label, _value: MASK)


def _numbered(names: Sequence[Label]) -> Iterator[Label]:
    """Tell things of one name apart by their number and how many there are: with one less, none is the same."""
    counts, seen = Counter(names), Counter[Label]()
    for name in names:
        seen[name] += 1
        yield (*name, f"{seen[name]} of {counts[name]}")


def _address(url: str, label: Label, change: Change) -> str:
    try:
        parts = urlsplit(url)
        pairs = parse_qsl(parts.query, keep_blank_values=True)
    except ValueError:
        return str(change(label, url))
    named, at, host = parts.netloc.rpartition("@")
    user, colon, password = named.partition(":")
    if colon:
        named = f"{user}:{change((*label, 'password'), password)}"
    elif at:
        named = str(change((*label, "user"), user))
    places = [place for place, (name, value) in enumerate(pairs) if value and sounds_secret(name)]
    for place, one in zip(places, _numbered([(pairs[place][0],) for place in places]), strict=True):
        pairs[place] = (pairs[place][0], change((*label, *one), pairs[place][1]))
    query = urlencode(pairs, safe="*") if places else parts.query
    changed = parts._replace(netloc=f"{named}{at}{host}", query=query)
    return url if changed == parts else urlunsplit(changed)
