"""A check's preparation of a client socket, carried to where the socket is.

It travels as source text: the function, the modules and the plain constants that it names.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import textwrap
from types import ModuleType

from pytest_fsmredir.agent.forms import Json
from pytest_fsmredir.traffic.host import Prepare

_PLAIN = (int, float, str, bytes, bool, tuple, type(None))


def preparation_form(prepare: Prepare | None) -> Json:
    """Return a function as JSON.

    Raises:
        ValueError: It is no plain function of a module, or it names something that cannot travel.
    """
    if prepare is None:
        return None
    if not inspect.isfunction(prepare) or prepare.__closure__ or prepare.__name__ == "<lambda>":
        raise ValueError(f"{prepare!r} is no plain function, so it cannot be sent into a pod")
    modules: dict[str, str] = {}
    constants: dict[str, str] = {}
    for name in prepare.__code__.co_names:
        if name not in prepare.__globals__:
            continue  # an attribute or a builtin
        value = prepare.__globals__[name]
        if isinstance(value, ModuleType):
            modules[name] = value.__name__
        elif isinstance(value, _PLAIN):
            constants[name] = repr(value if not isinstance(value, int) else int(value))
        else:
            what = f"{prepare.__name__} uses {name}, which cannot be sent into a pod"
            raise ValueError(what)  # noqa: TRY004 - what it is for counts, not its type
    source = textwrap.dedent(inspect.getsource(prepare))
    return [prepare.__name__, source, modules, constants]


def prepared_by(form: Json) -> Prepare | None:
    """Return the function of its JSON form, or None."""
    if form is None:
        return None
    name, source, modules, constants = form
    names: dict[str, object] = {each: importlib.import_module(of) for each, of in modules.items()}
    names |= {each: ast.literal_eval(text) for each, text in constants.items()}
    # What a check of the suite has always done in the process of the netns backend.
    exec(f"from __future__ import annotations\n{source}", names)  # noqa: S102
    made: Prepare = names[name]  # type: ignore[assignment]
    return made
