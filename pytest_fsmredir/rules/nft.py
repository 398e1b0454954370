"""Read the output of ``nft -j list ruleset``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Final

from pytest_fsmredir.rules.errors import RulesError
from pytest_fsmredir.rules.forms import (
    DEVICE_HOOKS,
    Accept,
    Action,
    Alter,
    AnyOf,
    Chain,
    Condition,
    Copy,
    Destination,
    Drop,
    Field,
    Goto,
    Hook,
    Jump,
    Kind,
    Opaque,
    Redirect,
    Reject,
    Return,
    Rule,
    Source,
    Test,
    Tproxy,
    Unknown,
    Untrack,
    Write,
)
from pytest_fsmredir.rules.iptables_targets import LISTENED
from pytest_fsmredir.rules.nft_text import words_of
from pytest_fsmredir.rules.nft_values import (
    WIDTHS,
    Json,
    Left,
    NotUnderstoodError,
    left_of,
    matched,
    number,
)
from pytest_fsmredir.rules.ruleset import RuleSet
from pytest_fsmredir.rules.vocabulary import address

_FAMILIES: Final = {"ip": (4,), "ip6": (6,), "inet": (4, 6), "netdev": (4, 6)}
_QUIET: Final = frozenset({"counter", "log", "comment", "ct helper", "ct timeout", "secmark"})
_VARYING: Final = frozenset({"limit", "quota", "meter", "connlimit", "ct count", "last"})
_ENDS: Final[Mapping[str, Action]] = {"accept": Accept(), "drop": Drop(), "return": Return()}
_ALL = 2**32 - 1
_MATCHED_LATER: Final = frozenset(
    {Field.SOURCE, Field.DESTINATION, Field.SOURCE_PORT, Field.PORT, Field.PROTOCOL}
)
"""Fields that later rules, NAT and routing read; the model does not follow their changes."""
_ESCAPED = re.compile(r"(?<!\\)(?:\\\\)*(\\u00(?:[01]\w|7[fF]|[89]\w)|\\[bfnrt])")
"""A control character in JSON. A name that holds one could write to a terminal."""
IPTABLES_TABLES: Final = frozenset({"filter", "nat", "mangle", "raw", "security"})


def read(text: str, line: int, into: RuleSet, *, listed: frozenset[tuple[str, str]]) -> None:
    """Add the tables of a JSON listing to a rule set.

    Args:
        text: The JSON document.
        line: The line of the file at which it begins.
        into: The rule set to add to.
        listed: Tables (family, name) to skip, because ``iptables-save`` lists them in more detail.

    Raises:
        RulesError: It is not such a document.
    """
    escaped = _ESCAPED.search(text)
    if escaped:
        number = line + text.count("\n", 0, escaped.start())
        raise RulesError(f"line {number}: the text holds the control character {escaped[0]}")
    try:
        document = json.loads(text)
        items = document["nftables"]
        reader = _Reader(into, listed, _filled(items))
        for item in items:
            reader.take(item)
    except json.JSONDecodeError as why:
        raise RulesError(f"line {line + why.lineno - 1}: not valid JSON: {why.msg}") from None
    except (KeyError, TypeError, AttributeError, IndexError, ValueError, RecursionError) as why:
        raise RulesError(
            f"line {line}: not what nft -j list ruleset writes ({type(why).__name__}: {why})"
        ) from None


class _Reader:
    def __init__(
        self,
        into: RuleSet,
        listed: frozenset[tuple[str, str]],
        filled: frozenset[tuple[str, str, str]],
    ) -> None:
        self._into, self._listed, self._filled = into, listed, filled
        self._sets: dict[tuple[str, str, str], Json] = {}
        self._opaque: set[tuple[str, str]] = set()

    def take(self, item: Json) -> None:
        """Read one object of the listing."""
        ((kind, body),) = item.items()
        if kind in {"chain", "rule", "set", "map"}:
            where = body["family"], body["table"]
            if where in self._listed:
                return
            if body["family"] not in _FAMILIES:
                self._remark(*where)
                return
        if kind == "chain":
            self._chain(body)
        elif kind in {"set", "map"}:
            name = body["family"], body["table"], body["name"]
            flags = ["dynamic"] if name in self._filled else []
            self._sets[name] = {**body, "flags": [*_listed(body.get("flags", [])), *flags]}
        elif kind == "rule":
            self._rule(body)

    def _remark(self, family: str, table: str) -> None:
        if (family, table) not in self._opaque:
            self._opaque.add((family, table))
            self._into.remarks.append(f"the table {family} {table} was not read")

    def _chain(self, body: Json) -> None:
        made = Chain(
            body["name"], body["table"], f"nft {body['family']}", families=_FAMILIES[body["family"]]
        )
        if "hook" in body:
            if body["hook"] not in set(Hook):
                self._remark(body["family"], body["table"])
                return
            made.hook, made.kind = Hook(body["hook"]), Kind(body["type"])
            made.priority = int(body["prio"])
            made.accepts = body.get("policy", "accept") == "accept"
            devices = body.get("dev", ())  # a name, or a list of names
            made.devices = (devices,) if isinstance(devices, str) else tuple(devices)
            if made.hook in DEVICE_HOOKS and not (made.devices or made.accepts):
                self._remark(body["family"], body["table"])
                return
        self._into.chains[made.origin, made.table, made.name] = made

    def _rule(self, body: Json) -> None:
        key = (f"nft {body['family']}", body["table"], body["chain"])
        chain = self._into.chains.get(key)
        if chain is None:
            return  # its chain is at a hook that was left out
        if any("ct timeout" in part for part in body["expr"]):
            self._into.limit_time(f"a rule of {body['chain']} with ct timeout")
        place = chain.rules[-1].number + 1 if chain.rules else 1
        text = " ".join(words_of(part) for part in body["expr"])
        packets = next((p["counter"]["packets"] for p in body["expr"] if _counts(p)), None)
        statements = _Statements(self._sets, body["family"], body["table"])
        doubt: tuple[Condition, ...] = ()
        if chain.hook in DEVICE_HOOKS and not chain.devices:  # nft 1.0.6 leaves the device out
            words = f"the interface of the chain {chain.name} is not listed"
            doubt = (Condition(words, Unknown(words)),)
        for conditions, actions in statements.split(body["expr"]):
            chain.rules.append(Rule((*doubt, *conditions), actions, 0, text, place, packets))


def _filled(items: Json) -> frozenset[tuple[str, str, str]]:
    """Return (family, table, name) of the sets and maps that packets change.

    nft 1.0.6 does not list the flag "dynamic", and the kernel also fills some sets without it.
    """
    rules = [item["rule"] for item in items if "rule" in item]
    return frozenset(
        (rule["family"], rule["table"], part[kind][kind].removeprefix("@"))
        for rule in rules
        for part in rule.get("expr", ())
        for kind in ("set", "map")
        if isinstance(part.get(kind), dict) and isinstance(part[kind].get(kind), str)
    )


def _limits(kind: str, body: Json) -> bool:
    """Whether a statement adds to a set with a limit, which can end the rule like a match."""
    return kind in {"set", "map"} and isinstance(body, dict) and bool(body.get("stmt"))


def _counts(part: Json) -> bool:
    return isinstance(part.get("counter"), dict) and "packets" in part["counter"]


class _Statements:
    """Converts the expressions of one rule to conditions and actions."""

    def __init__(self, sets: dict[tuple[str, str, str], Json], family: str, table: str) -> None:
        self._sets, self._where = sets, (family, table)

    def split(self, parts: Json) -> Iterator[tuple[tuple[Condition, ...], tuple[Action, ...]]]:
        """Split the rule into rules whose conditions all come before their actions."""
        conditions: list[Condition] = []
        actions: list[Action] = []
        for part in parts:
            ((kind, body),) = part.items()
            words = words_of(part)
            if kind in {"match", "xt"} or kind in _VARYING or _limits(kind, body):
                test = self._test(kind, body, words)
                if test is None:
                    actions.append(Opaque(words))
                    continue
                if actions:
                    yield tuple(conditions), tuple(actions)
                    actions = []
                conditions.append(Condition(words, test))
            elif kind == "vmap":
                yield from self._verdicts(body, conditions, actions)
                return
            elif kind not in _QUIET:
                made = self._action(kind, body, words)
                if len(made) == 1:
                    actions.extend(made[0][1])
                    continue
                for extra, several in made:
                    yield (*conditions, *extra), (*actions, *several)
                return
        yield tuple(conditions), tuple(actions)

    def _test(self, kind: str, body: Json, words: str) -> Test | None:
        if kind == "match":
            return self._match(body["left"], body["op"], body["right"], words)
        if kind == "xt":
            return None if body.get("type") == "target" else Unknown(words)
        return Unknown(words, varies=True)

    def _match(self, left: Json, operator: str, right: Json, words: str) -> Test:
        if isinstance(right, str) and right.startswith("@"):
            found = self._named(right)
            if found is None:
                return Unknown(f"nft set {right}, which is dynamic", varies=True)
            right = {"set": found}
            if not found:
                return AnyOf(()) if operator != "!=" else matched(left, operator, right, words)
        if isinstance(right, list) and operator == "==" and "set" not in right:
            right = {"|": right} if isinstance(left, dict) and "&" in left else right
        return matched(left, operator, right, words)

    def _named(self, reference: str) -> Json | None:
        """Return the elements of a named set or map; None if packets can change it."""
        body = self._sets.get((*self._where, reference[1:]))
        if body is None or {"dynamic", "timeout"} & set(_listed(body.get("flags", []))):
            return None
        return body.get("elem", [])

    def _rows(self, data: Json) -> list[tuple[Json, Json]] | None:
        elements = self._named(data) if isinstance(data, str) else data["set"]
        if elements is None:
            return None
        return [(_bare(key), value) for key, value in elements]

    def _verdicts(
        self, body: Json, conditions: list[Condition], actions: list[Action]
    ) -> Iterator[tuple[tuple[Condition, ...], tuple[Action, ...]]]:
        rows = self._rows(body["data"])
        words = words_of({"vmap": body})
        if rows is None:
            yield tuple(conditions), (*actions, Opaque(words))
            return
        if actions:
            yield tuple(conditions), tuple(actions)
        by_verdict: dict[str, list[Json]] = {}
        for key, verdict in rows:
            by_verdict.setdefault(json.dumps(verdict), []).append(key)
        listed = [key for key, _ in rows if key != "*"]
        for verdict, keys in by_verdict.items():
            ((kind, target),) = json.loads(verdict).items()
            shown = f"{words} → {kind} {target.get('target', '') if target else ''}".rstrip()
            if "*" in keys:  # every other value
                others = [key for key in listed if key not in keys]
                test = matched(body["key"], "!=", {"set": others}, shown)
            else:
                test = matched(body["key"], "==", {"set": keys}, shown)
            yield (*conditions, Condition(shown, test)), self._action(kind, target, shown)[0][1]

    def _action(
        self, kind: str, body: Json, words: str
    ) -> list[tuple[tuple[Condition, ...], tuple[Action, ...]]]:
        """Return (conditions, actions) of a statement; several pairs if it uses a map."""
        if kind in _ENDS:
            return _plain(_ENDS[kind])
        try:
            match kind:
                case "jump" | "goto":
                    name = body["target"]
                    return _plain(Jump(name) if kind == "jump" else Goto(name))
                case "redirect" | "dnat" | "tproxy":
                    return self._towards(kind, body or {}, words)
                case "mangle":
                    return [((), self._change(body["key"], body["value"], words))]
        except NotUnderstoodError:
            return _plain(Opaque(words))
        simple: dict[str, tuple[Action, ...]] = {
            "reject": (Reject(),),
            "snat": (Source("snat"),),
            "masquerade": (Source("masquerade"),),
            "notrack": (Untrack(),),
            "set": (),
            "continue": (),
        }
        return [((), simple.get(kind, (Opaque(words),)))]

    def _towards(
        self, kind: str, body: Json, words: str
    ) -> list[tuple[tuple[Condition, ...], tuple[Action, ...]]]:
        port, host = body.get("port"), body.get("addr")
        if isinstance(port, dict) and "map" in port:
            rows = self._rows(port["map"]["data"])
            if rows is None:
                raise NotUnderstoodError
            return [
                (
                    (Condition(f"{words}", matched(port["map"]["key"], "==", key, words)),),
                    (_target(kind, host, value),),
                )
                for key, value in rows
            ]
        return [((), (_target(kind, host, port),))]

    def _change(self, key: Json, value: Json, words: str) -> tuple[Action, ...]:
        try:
            left = left_of(key)
        except NotUnderstoodError:
            # A zone decides which connection a packet belongs to.
            zone = isinstance(key, dict) and key.get("ct", {}).get("key") == "zone"
            return (Opaque(words) if zone else Alter(words),)
        whole = left.mask if left.mask is not None else _ALL
        if left.field in _MATCHED_LATER:
            return (Opaque(words),)
        if left.field not in {Field.MARK, Field.CONNECTION_MARK, Field.TOS, Field.TTL}:
            return (Alter(words),)
        match value:
            case {"|": [inner, int(bits)]} if _same(inner, left):
                return (Write(left.field, bits, bits),)
            case {"&": [inner, int(bits)]} if _same(inner, left):
                return (Write(left.field, 0, ~bits & whole),)
            case {"^": [inner, int(bits)]} if _same(inner, left):
                return (Write(left.field, bits, 0),)
            case {"meta": _} | {"ct": _} if WIDTHS.get(left_of(value).field) == WIDTHS[left.field]:
                return (Copy(left_of(value).field, left.field, _ALL),)
            case dict():
                return (Opaque(words),)
        if left.field is Field.TOS and left.mask is None:
            return (Opaque(words),)
        return (Write(left.field, number(left.field, value) << left.shift, whole),)


def _same(expression: Json, left: Left) -> bool:
    try:
        return left_of(expression) == left
    except NotUnderstoodError:
        return False


def _target(kind: str, host: Json, port: Json) -> Action:
    if (port is not None and not isinstance(port, int)) or (host and not isinstance(host, str)):
        raise NotUnderstoodError
    if kind == "redirect":
        return Redirect(port)
    if kind == "tproxy":
        if host and host not in LISTENED:
            raise NotUnderstoodError
        return Tproxy(port, ends=False)
    return Destination(address(host) if host else None, port)


def _plain(action: Action) -> list[tuple[tuple[Condition, ...], tuple[Action, ...]]]:
    return [((), (action,))]


def _bare(key: Json) -> Json:
    return key["elem"]["val"] if isinstance(key, dict) and "elem" in key else key


def _listed(value: Json) -> list[str]:
    return value if isinstance(value, list) else [value]
