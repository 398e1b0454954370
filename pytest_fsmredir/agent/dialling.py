"""The JSON form of how to send a flow, for both ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from pytest_fsmredir.agent.forms import Json, address_form, address_of
from pytest_fsmredir.agent.preparation import preparation_form, prepared_by
from pytest_fsmredir.traffic.dial import Dial

_TO_FORM: Mapping[str, Callable[[Any], Json]] = {
    "source": address_form,
    "prepare": preparation_form,
}
_FROM_FORM: Mapping[str, Callable[[Json], Any]] = {"source": address_of, "prepare": prepared_by}


def dial_form(dial: Dial) -> Json:
    """Return how to send a flow as JSON: the attributes that differ from their defaults.

    Raises:
        ValueError: The preparation of the socket cannot be sent.
    """
    values = {each.name: getattr(dial, each.name) for each in fields(dial)}
    return {
        each.name: _TO_FORM.get(each.name, _same)(values[each.name])
        for each in fields(dial)
        if values[each.name] != each.default
    }


def dial_of(form: Json) -> Dial:
    """Return how to send a flow from its JSON form; None is the default."""
    return Dial(
        **{name: _FROM_FORM.get(name, _same)(value) for name, value in (form or {}).items()}
    )


def _same(value: Json) -> Json:
    return value
