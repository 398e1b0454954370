"""Write expressions of ``nft -j`` as text."""

from __future__ import annotations

from pytest_fsmredir.rules.nft_values import Json


def words_of(part: Json) -> str:
    """Return a JSON expression in approximate nft syntax."""
    match part:
        case {"match": {"left": left, "op": op, "right": right}}:
            return f"{words_of(left)} {op} {words_of(right)}".replace(" == ", " ")
        case {"payload": {"protocol": protocol, "field": name}}:
            return f"{protocol} {name}"
        case {"meta": {"key": key}} | {"ct": {"key": key}}:
            return f"{next(iter(part))} {key}"
        case {"prefix": {"addr": base, "len": length}}:
            return f"{base}/{length}"
        case {"range": [low, high]}:
            return f"{words_of(low)}-{words_of(high)}"
        case {"set": list(values)}:
            return "{ " + ", ".join(words_of(value) for value in values) + " }"
        case {"concat": list(values)}:
            return " . ".join(words_of(value) for value in values)
        case {"vmap": {"key": key, "data": data}}:
            return f"{words_of(key)} vmap {words_of(data)}"
        case {"mangle": {"key": key, "value": value}}:
            return f"{words_of(key)} set {words_of(value)}"
        case {"redirect": {"port": port}}:
            return f"redirect to :{words_of(port)}"
        case {"jump": {"target": name}} | {"goto": {"target": name}}:
            return f"{next(iter(part))} {name}"
        case {"counter": _}:
            return "counter"
        case {"elem": {"val": inner, **_rest}}:
            return words_of(inner)
        case [*values]:
            return ",".join(words_of(value) for value in values)
        case dict():
            return " ".join(f"{key} {words_of(v)}".strip() for key, v in part.items())
        case None:
            return ""
        case _:
            return str(part)
