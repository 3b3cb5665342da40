"""House rules that a look at the syntax tree can prove."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import service

ROOT = Path(service.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__", "globals", "locals", "breakpoint"}
FORBIDDEN_ATTRIBUTES = {"import_module", "run_path", "run_module", "system", "popen", "reload", "exec_module"}
FORBIDDEN_MODULES = {
    "pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "code", "codeop", "runpy", "imp",
    "subprocess", "ctypes",
}  # fmt: skip
#: Lfx runs in a process of its own, behind a fence that only the C library can build; and only that library can be
#: told to give memory back.
IMPORTED_ON_PURPOSE = {
    "memory.py": {"ctypes"},
    "adapters/lfx_process.py": {"subprocess"},
    "adapters/lfx_setup.py": {"subprocess"},
    "adapters/lfx_child/fence.py": {"ctypes"},
}
TAKES_SQL = {
    "text",
    "exec_driver_sql",
    "execute",
    "executescript",
    "executemany",
    "scalar",
    "scalars",
    "literal_column",
}
#: PRAGMAs take no parameters; this one is built from a tuple of constants in the line above it.
BUILT_ON_PURPOSE = {("storage/engine.py", "cursor.execute(f'PRAGMA {pragma}')")}

every_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())


def calls(path: Path) -> Iterator[ast.Call]:
    yield from (node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call))


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (alias.name for alias in node.names)


def is_built(node: ast.expr) -> bool:
    """True for a text that is put together: an f-string, +, %, .format() or .join()."""
    if isinstance(node, ast.JoinedStr):
        return True
    if isinstance(node, ast.BinOp):
        return any(isinstance(side, ast.Constant | ast.JoinedStr | ast.BinOp) for side in (node.left, node.right))
    called = node.func if isinstance(node, ast.Call) else None
    return isinstance(called, ast.Attribute) and called.attr in {"format", "join", "replace", "format_map"}


def name_of(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")


@every_file
def test_nothing_turns_text_into_code(path: Path) -> None:
    found = [
        ast.unparse(call)
        for call in calls(path)
        if (isinstance(call.func, ast.Name) and call.func.id in FORBIDDEN_CALLS)
        or (isinstance(call.func, ast.Attribute) and call.func.attr in FORBIDDEN_ATTRIBUTES)
    ]
    assert found == []


@every_file
def test_nothing_imports_a_module_that_turns_data_into_code(path: Path) -> None:
    allowed = IMPORTED_ON_PURPOSE.get(path.relative_to(ROOT).as_posix(), set())
    assert {name.partition(".")[0] for name in imported(path)} & FORBIDDEN_MODULES == allowed


@every_file
def test_nothing_imports_by_a_name_in_a_variable(path: Path) -> None:
    assert {"import_module", "__import__", "builtins"} & set(imported(path)) == set()


@every_file
def test_no_sql_is_put_together_from_texts(path: Path) -> None:
    place = path.relative_to(ROOT).as_posix()
    found = [
        ast.unparse(call)
        for call in calls(path)
        if name_of(call) in TAKES_SQL
        and any(is_built(argument) for argument in call.args)
        and (place, ast.unparse(call)) not in BUILT_ON_PURPOSE
    ]
    assert found == []


@every_file
def test_text_of_sqlalchemy_takes_constants_only(path: Path) -> None:
    if "text" not in set(imported(path)):
        return
    loose = [
        ast.unparse(call)
        for call in calls(path)
        if isinstance(call.func, ast.Name) and call.func.id == "text" and not isinstance(call.args[0], ast.Constant)
    ]
    assert loose == []


@pytest.mark.parametrize(
    "source",
    [
        "execute(f'SELECT {x}')",
        "execute('SELECT ' + x)",
        "execute('SELECT %s' % x)",
        "execute('SELECT {}'.format(x))",
        "execute(' '.join(x))",
    ],
)
def test_the_scan_sees_sql_that_is_put_together(source: str) -> None:
    call = ast.parse(source).body[0].value
    assert is_built(call.args[0])
