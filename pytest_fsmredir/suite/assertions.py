"""Change the assertions of a file of checks so that they record instead of raising."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from types import CodeType

ASSERTED = "__asserted__"
"""Name of the function that a changed assertion calls."""


@cache
def recording_code(file: str) -> CodeType:
    """Return the code of a file in which each assertion is a call of :data:`ASSERTED`.

    The call gets the assertion's text and its alternatives, each as a function.
    """
    tree = _Assertions().visit(ast.parse(Path(file).read_bytes()))
    return compile(ast.fix_missing_locations(tree), file, "exec", dont_inherit=True)


class _Assertions(ast.NodeTransformer):
    def visit_Assert(self, node: ast.Assert) -> ast.stmt:
        """Replace an assertion by a call that takes each of its alternatives as a function."""
        test = node.test
        either = (
            test.values if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.Or) else [test]
        )
        empty = ast.arguments(posonlyargs=[], args=[], kwonlyargs=[], kw_defaults=[], defaults=[])
        text = ast.unparse(node.msg or test).removeprefix("f").strip("'\"")
        arguments = [ast.Constant(text), *(ast.Lambda(empty, one) for one in either)]
        call = ast.Call(ast.Name(ASSERTED, ast.Load()), arguments, [])
        return ast.copy_location(ast.Expr(call), node)
