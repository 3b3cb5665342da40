"""Prompt templates: ``{name}`` is replaced, ``{{`` and ``}}`` stand for braces."""

from __future__ import annotations

from collections.abc import Iterable

from service.domain.errors import FlowInvalid
from service.engine.component import Component, Draft, Output
from service.engine.fields import Field
from service.engine.templates import Parts, fill, names, parse, parse_mustache
from service.engine.values import Message, text_of

_OWN = frozenset({"template", "use_double_brackets", "tool_placeholder", "code"})


class Prompt(Component):
    """A text with variables in it; each variable is a field of the node."""

    names = ("Prompt", "Prompt Template", "PromptComponent")
    display_name = "Prompt Template"
    description = "Fills a prompt template with values."
    fields = (Field("template", "template", default=""), Field("use_double_brackets", "bool", default=False))
    outputs = (Output("prompt", "build_prompt"),)
    __slots__ = ()

    @classmethod
    def dynamic_fields(cls, draft: Draft) -> Iterable[Field]:
        """Every other field of the stored template is a variable."""
        return (Field(name, default="") for name in draft.node.fields if name not in _OWN)

    @classmethod
    def prepare(cls, draft: Draft) -> Parts | None:
        """Parse the stored template; None when it is only known at run time."""
        if draft.decided_later("template") or draft.decided_later("use_double_brackets"):
            return None
        template = draft.literal("template")
        try:
            return _split(template if isinstance(template, str) else "", draft.literal("use_double_brackets"))
        except ValueError as error:
            raise FlowInvalid(f"The template of {draft.node.display_name} cannot be used: {error}.") from None

    def build_prompt(self) -> Message:
        """The template with its variables filled in."""
        parts = self.step.prepared
        if not isinstance(parts, tuple):
            parts = self._parse_now()
        wanted = names(parts)
        missing = [name for name in wanted if self.values.get(name) is None]
        if missing:
            raise self.fail(f"The template needs a value for: {', '.join(missing)}.")
        filled = {name: text_of(self.values[name]) for name in wanted}
        self.run.room_for(sum(len(filled[name]) for _, name in parts if name is not None))
        return Message(fill(parts, filled), extra={"template": self.text("template"), "variables": filled})

    def _parse_now(self) -> Parts:
        try:
            return _split(self.text("template"), self.values.get("use_double_brackets"))
        except ValueError as error:
            raise self.fail(f"The template cannot be used: {error}.") from None


def _split(template: str, mustache: object) -> Parts:
    return parse_mustache(template) if mustache is True else parse(template)
