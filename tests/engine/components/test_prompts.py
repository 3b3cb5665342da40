from __future__ import annotations

from typing import Any

import pytest

from service.domain.errors import ComponentFailed, FlowInvalid
from tests.engine.conftest import Runs
from tests.support import flows


def asked(
    template: str, variables: dict[str, str] | None = None, *, mustache: bool = False, age: str = "1.13"
) -> Any:
    ask, end = flows.prompt("Prompt-1", template, variables, age=age), flows.chat_output()
    if mustache:
        ask["data"]["node"]["template"]["use_double_brackets"]["value"] = True
    return flows.flow([ask, end], [flows.edge(ask, "prompt", end, "input_value")])


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("Say {a} and {b}.", "Say x and y."),
        ("{a}{a}", "xx"),
        ("no variables", "no variables"),
        ("", ""),
        ('{{"a": "{a}"}}', '{"a": "x"}'),
        ("{{{a}}}", "{x}"),
        ("{{a}}", "{a}"),
    ],
)
@pytest.mark.parametrize("age", ["1.13", "1.5"])
def test_variables_are_filled_in_and_doubled_braces_stand_for_braces(
    runs: Runs, template: str, text: str, age: str
) -> None:
    assert runs.text(asked(template, {"a": "x", "b": "y"}, age=age), None) == text


def test_a_value_that_looks_like_a_variable_is_left_as_it_is(runs: Runs) -> None:
    assert runs.text(asked("{a}", {"a": "{b}", "b": "secret"}), None) == "{b}"


@pytest.mark.parametrize(
    "template",
    ["{", "}", "{}", "{a", '{"a": 1}', "{a.b}", "{a[0]}", "{a!r}", "{a:>9}", "{a:{b}}", "{a b}", "{0.__class__}"],
)
def test_a_template_that_is_more_than_names_in_braces_is_refused_before_anything_runs(
    runs: Runs, template: str
) -> None:
    with pytest.raises(FlowInvalid, match="Prompt Template"):
        runs.engine.compile(asked(template, {"a": "x"}))


def test_a_variable_without_a_field_is_named(runs: Runs) -> None:
    with pytest.raises(ComponentFailed, match="needs a value for: b, c"):
        runs.events(asked("{a}{b}{c}", {"a": "x"}), None)


def test_double_brackets_are_variables_when_the_node_says_so(runs: Runs) -> None:
    assert runs.text(asked('{"a": "{{a}}"} {a}', {"a": "x"}, mustache=True), None) == '{"a": "x"} {a}'


@pytest.mark.parametrize("template", ["{{#a}}x{{/a}}", "{{> a}}", "{{{a}}}", "{{ a }}", "{{"])
def test_double_brackets_with_anything_but_a_name_are_refused(runs: Runs, template: str) -> None:
    with pytest.raises(FlowInvalid):
        runs.engine.compile(asked(template, {"a": "x"}, mustache=True))


def test_a_template_that_comes_from_a_variable_is_parsed_when_it_is_there(runs: Runs) -> None:
    data = asked("TEMPLATE", {"a": "x"})
    data["nodes"][0]["data"]["node"]["template"]["template"]["load_from_db"] = True
    assert runs.text(data, None, values={"TEMPLATE": "<{a}>"}) == "<x>"
    with pytest.raises(ComponentFailed, match="cannot be used"):
        runs.events(data, None, values={"TEMPLATE": "<{a"})
