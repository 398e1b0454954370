"""Send a check's preparation of a client socket to the pod that opens the socket.

It is sent as source text: the function, and the modules and plain constants that it uses. Functions
of the package that the agent has too are sent by name.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import textwrap
from collections.abc import Callable
from functools import partial
from types import ModuleType

from pytest_fsmredir.agent.forms import Json
from pytest_fsmredir.traffic.dial import Prepare

_PLAIN = (int, float, str, bytes, bool, tuple, type(None))
_SHIPPED = "pytest_fsmredir.traffic."  # every agent has these modules


def preparation_form(prepare: Prepare | None) -> Json:
    """Return a function as JSON, or a partial one with its first arguments.

    Raises:
        ValueError: It is not a plain function of a module, or it uses a name that cannot be sent.
    """
    if prepare is None:
        return None
    function: Callable[..., None] = prepare
    arguments: list[str] = []
    if isinstance(prepare, partial):
        function, arguments = prepare.func, [_literal("it", value) for value in prepare.args]
    if not inspect.isfunction(function) or function.__closure__ or function.__name__ == "<lambda>":
        raise ValueError(f"{prepare!r} is not a plain function and cannot be sent into a pod")
    modules: dict[str, str] = {}
    functions: dict[str, tuple[str, str]] = {}
    constants: dict[str, str] = {}
    for name in function.__code__.co_names:
        if name not in function.__globals__:
            continue  # an attribute or a builtin
        value = function.__globals__[name]
        if isinstance(value, ModuleType):
            modules[name] = value.__name__
        elif inspect.isfunction(value) and value.__module__.startswith(_SHIPPED):
            functions[name] = (value.__module__, value.__name__)
        else:
            constants[name] = _literal(f"{function.__name__} uses {name}, which", value)
    source = textwrap.dedent(inspect.getsource(function))
    return [function.__name__, source, modules, functions, constants, arguments]


def _literal(what: str, value: object) -> str:
    """Return a plain value as Python source.

    Raises:
        ValueError: It is not a plain value.
    """
    if not isinstance(value, _PLAIN):
        raise ValueError(f"{what} cannot be sent into a pod: {value!r}")  # noqa: TRY004
    return repr(int(value) if isinstance(value, int) else value)


def prepared_by(form: Json) -> Prepare | None:
    """Return the function of its JSON form, or None."""
    if form is None:
        return None
    name, source, modules, functions, constants, arguments = form
    names: dict[str, object] = {each: importlib.import_module(of) for each, of in modules.items()}
    names |= {
        each: getattr(importlib.import_module(module), of)
        for each, (module, of) in functions.items()
    }
    names |= {each: ast.literal_eval(text) for each, text in constants.items()}
    # The source is a check of this suite; the netns backend runs the same code in its process.
    exec(f"from __future__ import annotations\n{source}", names)  # noqa: S102
    made: Prepare = names[name]  # type: ignore[assignment]
    return partial(made, *map(ast.literal_eval, arguments))
