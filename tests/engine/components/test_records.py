"""Records, tables and texts: what the golden recordings do not cover."""

from __future__ import annotations

from typing import Any

import pytest

from service.domain.errors import ComponentFailed, FlowInvalid
from tests.engine.conftest import Runs
from tests.support import flows
from tests.support.flows import Json, edge, field, node


def fielded(values: dict[str, Any]) -> list[Json]:
    kinds = {bool: "bool", int: "int", dict: "dict", list: "table"}
    return [
        field(name, value, kind=kinds.get(type(value), "str"), list=isinstance(value, list))
        for name, value in values.items()
    ]


def record(node_id: str = "record", **values: Any) -> Json:
    fields = [field("text_key", ""), field("field_1_key", values, kind="dict")]
    return node(f"CreateData-{node_id}", "CreateData", "Create Data", fields, {"data": "build_data"})


def through(runs: Runs, kind: str, inlet: str, sources: list[Json], output: str, **values: Any) -> Any:
    """The value that a component makes of some records."""
    one = node(f"{kind}-x", kind, kind, [field(inlet, kind="other", list=len(sources) > 1), *fielded(values)], {
        output: output,
    })  # fmt: skip
    end = flows.chat_output()
    edges = [edge(source, "data", one, inlet) for source in sources] + [edge(one, output, end, "input_value")]
    answer: Any = runs.answer(flows.flow([*sources, one, end], edges), None, output_type="debug")
    return next(r for r in answer["outputs"] if r["component_id"] == f"{kind}-x")["results"][output]


ADA, ALAN = {"name": "Ada", "age": 36}, {"name": "Alan", "age": 41}


@pytest.mark.parametrize(
    ("kind", "inlet", "output", "values", "made"),
    [
        ("UpdateData", "old_data", "data", {"field_1_key": {"age": 37}}, {"name": "Ada", "age": 37}),
        ("ExtractaKey", "data_input", "extracted_data", {"key": "age"}, {"age": 36}),
        ("ExtractaKey", "data_input", "extracted_data", {"key": "x"}, {"error": "Key 'x' not found in Data object."}),
        ("FilterData", "data", "filtered_data", {"filter_criteria": ["name"]}, {"name": "Ada"}),
        ("SelectData", "data_list", "selected_data", {"data_index": 0}, ADA),
    ],
)
def test_one_record_becomes_another(
    runs: Runs, kind: str, inlet: str, output: str, values: dict[str, Any], made: dict[str, Any]
) -> None:
    assert through(runs, kind, inlet, [record(**ADA)], output, **values)["data"] == made


@pytest.mark.parametrize(
    ("operation", "rows"),
    [
        ("Concatenate", [{"name": "Ada\nAlan", "age": 41}]),
        ("Append", [ADA, ALAN]),
        ("Merge", [{"name": ["Ada", "Alan"], "age": 41}]),
        ("Join", [{**ADA, "name_doc2": "Alan", "age_doc2": 41}]),
    ],
)
def test_records_are_joined(runs: Runs, operation: str, rows: list[Any]) -> None:
    sources = [record("a", **ADA), record("b", **ALAN)]
    assert through(runs, "MergeDataComponent", "data_inputs", sources, "combined_data", operation=operation) == rows


@pytest.mark.parametrize(
    ("operator", "value", "names"),
    [
        ("equals", "Ada", ["Ada"]),
        ("not equals", "Ada", ["Alan"]),
        ("contains", "l", ["Alan"]),
        ("starts with", "A", ["Ada", "Alan"]),
        ("ends with", "n", ["Alan"]),
    ],
)
def test_records_are_filtered_by_a_value(runs: Runs, operator: str, value: str, names: list[str]) -> None:
    sources = [record("a", **ADA), record("b", **ALAN)]
    found = through(runs, "FilterDataValues", "input_data", sources, "filtered_data",
                    filter_key="name", filter_value=value, operator=operator)  # fmt: skip
    assert [item["data"]["name"] for item in found] == names


def test_records_become_rows(runs: Runs) -> None:
    sources = [record("a", **ADA), record("b", **ALAN)]
    assert through(runs, "DataToDataFrame", "data_list", sources, "dataframe") == [ADA, ALAN]


def test_records_become_text_by_a_template(runs: Runs) -> None:
    sources = [record("a", **ADA), record("b", **ALAN)]
    text = through(runs, "ParseData", "data", sources, "text", template="{name}/{missing}/{age}", sep="; ")["text"]
    assert text == "Ada//36; Alan//41"


def test_a_place_that_a_list_does_not_have_is_told(runs: Runs) -> None:
    with pytest.raises(ComponentFailed, match="no record at place 5"):
        through(runs, "SelectData", "data_list", [record(**ADA)], "selected_data", data_index=5)


@pytest.mark.parametrize("operation", ["Multiply", ""])
def test_an_unknown_operation_is_told(runs: Runs, operation: str) -> None:
    with pytest.raises(ComponentFailed, match="There is no operation"):
        through(runs, "MergeDataComponent", "data_inputs", [record(**ADA)], "combined_data", operation=operation)


@pytest.mark.parametrize("template", ["{text.__class__}", "{text[0]}", "{text!r}", "{text:>99999999}", "{text"])
def test_a_template_knows_plain_names_only(runs: Runs, template: str) -> None:
    with pytest.raises((ComponentFailed, FlowInvalid), match="template"):
        through(
            runs, "ParserComponent", "input_data", [record(**ADA)], "parsed_text", pattern=template, mode="Parser"
        )


def test_a_regular_expression_that_never_ends_is_stopped(runs: Runs) -> None:
    start, end = flows.chat_input(), flows.chat_output()
    find = node("Regex-r", "RegexExtractorComponent", "Regex", fielded({"input_text": "", "pattern": "^(a|aa)+$"}), {
        "text": "get_matches_text",
    })  # fmt: skip
    data = flows.flow([start, find, end], [edge(start, "message", find, "input_text"),
                                           edge(find, "text", end, "input_value")])  # fmt: skip
    with pytest.raises(ComponentFailed, match="takes too long"):
        runs.text(data, "a" * 50 + "!")


def calculating(expression: str) -> Json:
    fields = [field("expression", expression)]
    one = node(
        "CalculatorComponent-c", "CalculatorComponent", "Calculator", fields, {"result": "evaluate_expression"}
    )
    end = flows.chat_output()
    return flows.flow([one, end], [edge(one, "result", end, "input_value")])


@pytest.mark.parametrize(
    ("expression", "made"),
    [
        ("-2 + +3", {"result": "1"}),
        ("2 ** 0.5", {"result": "1.414214"}),
        ("1 / 0", {"error": "Error: Division by zero", "input": "1 / 0"}),
        ("9 ** 9 ** 9 ** 9", {"error": "Invalid expression: the result is too large", "input": "9 ** 9 ** 9 ** 9"}),
        ("(-8) ** 0.5", {"error": "Invalid expression: the result is no finite number", "input": "(-8) ** 0.5"}),
    ],
)
def test_the_calculator_calculates_and_says_what_it_cannot(runs: Runs, expression: str, made: dict[str, str]) -> None:
    answer: Any = runs.answer(calculating(expression), None, output_type="debug")
    assert answer["outputs"][0]["results"]["result"]["data"] == made


@pytest.mark.parametrize(
    "expression", ["__import__('os')", "a", "[1]", "1 if 1 else 2", "'x' * 9", "1;2", "(" * 5000]
)
def test_the_calculator_executes_nothing(runs: Runs, expression: str) -> None:
    assert "Invalid expression" in runs.text(calculating(expression), None)


@pytest.mark.parametrize(
    ("operator", "match", "text", "route"),
    [
        ("equals", "x", "x", "yes"),
        ("not equals", "x", "x", "no"),
        ("contains", "ell", "hello", "yes"),
        ("ends with", "lo", "hello", "yes"),
        ("regex", "h.l+o$", "hello", "yes"),
        ("regex", "(", "hello", "no"),
        ("less than", "9", "10", "no"),
        ("less than or equal", "10", "10", "yes"),
        ("greater than or equal", "x", "10", "no"),
        ("unheard of", "x", "x", "no"),
    ],
)
def test_one_branch_runs_and_the_other_does_not(runs: Runs, operator: str, match: str, text: str, route: str) -> None:
    start = flows.chat_input()
    fork = node("ConditionalRouter-r", "ConditionalRouter", "If-Else",
                fielded({"input_text": "", "operator": operator, "match_text": match}),
                {"true_result": "true_response", "false_result": "false_response"})  # fmt: skip
    yes, no = flows.chat_output("ChatOutput-yes"), flows.chat_output("ChatOutput-no")
    data = flows.flow([start, fork, yes, no], [edge(start, "message", fork, "input_text"),
                                               edge(fork, "true_result", yes, "input_value"),
                                               edge(fork, "false_result", no, "input_value")])  # fmt: skip
    answer: Any = runs.answer(data, text)
    assert [result["component_id"] for result in answer["outputs"]] == [f"ChatOutput-{route}"]
