"""Small helpers, which agents like as tools: a calculator and a clock."""

from __future__ import annotations

import ast
import math
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from service.engine.component import Component, Output
from service.engine.fields import Field
from service.engine.values import Data, Message

_MAX_EXPRESSION = 1000


class Calculator(Component):
    """Arithmetic: numbers, ``+ - * / **`` and brackets, nothing else."""

    names = ("CalculatorComponent", "CalculatorTool")
    display_name = "Calculator"
    description = "Evaluates an arithmetic expression."
    fields = (Field("expression", default="", tool="The expression, for example 4*4*(33/22)+12-20."),)
    outputs = (Output("result", "evaluate_expression"),)
    __slots__ = ()

    def evaluate_expression(self) -> Data:
        """``{"result": "16"}``, or ``{"error", "input"}`` for what cannot be calculated."""
        expression = self.text("expression")
        try:
            result = evaluate(expression)
        except ZeroDivisionError:
            return Data({"error": "Error: Division by zero", "input": expression})
        except ValueError as error:
            return Data({"error": f"Invalid expression: {error}", "input": expression})
        return Data({"result": f"{result:.6f}".rstrip("0").rstrip(".")})


def evaluate(expression: str) -> float:
    """The value of an arithmetic expression; nothing in it is ever executed.

    Raises:
        ValueError: anything but numbers and operators, or a result that is no finite number.
        ZeroDivisionError: as it says.
    """
    if len(expression) > _MAX_EXPRESSION:
        raise ValueError(f"it is longer than {_MAX_EXPRESSION} characters")
    try:
        result = _value(ast.parse(expression, mode="eval").body)
    except (SyntaxError, MemoryError, RecursionError):
        raise ValueError("invalid syntax") from None
    except OverflowError:
        raise ValueError("the result is too large") from None
    if isinstance(result, complex) or not math.isfinite(result):
        raise ValueError("the result is no finite number")
    return result


def _value(node: ast.AST) -> float:
    """All numbers are floats on purpose: whole numbers of any size would take any time."""
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return float(node.value)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.UAdd | ast.USub):
        value = _value(node.operand)
        return value if isinstance(node.op, ast.UAdd) else -value
    if isinstance(node, ast.BinOp):
        return _applied(node.op, _value(node.left), _value(node.right))
    raise ValueError(f"Unsupported operation or expression type: {type(node).__name__}")


def _applied(operator: ast.operator, left: float, right: float) -> float:
    match operator:
        case ast.Add():
            return left + right
        case ast.Sub():
            return left - right
        case ast.Mult():
            return left * right
        case ast.Div():
            return left / right
        case ast.Pow():
            return float(left**right) if left >= 0 or right.is_integer() else math.nan
    raise ValueError(f"Unsupported binary operator: {type(operator).__name__}")


class CurrentDate(Component):
    """The date and time in a time zone."""

    names = ("CurrentDate", "CurrentDateComponent")
    display_name = "Current Date"
    description = "Tells the current date and time in a time zone."
    fields = (Field("timezone", default="UTC", tool="Name of the time zone, for example Europe/Paris."),)
    outputs = (Output("current_date", "get_current_date"),)
    __slots__ = ()

    def get_current_date(self) -> Message:
        """One sentence; an error in words for an unknown zone."""
        name = self.text("timezone") or "UTC"
        try:
            now = datetime.now(UTC).astimezone(ZoneInfo(name))
        except (ValueError, OSError, KeyError):
            return Message(f"Error: there is no time zone {name[:80]}")
        return Message(f"Current date and time in {name}: {now:%Y-%m-%d %H:%M:%S %Z}")
