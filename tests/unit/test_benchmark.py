"""The figures of the benchmark, from given samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest

from pytest_fsmredir.backends.measuring import Case, Load, Metric, Pair, Side, UnmeasuredError
from pytest_fsmredir.backends.netns.measuring import ranges
from pytest_fsmredir.errors import SettingsError
from pytest_fsmredir.report.benchmark import benchmark_lines, quantity
from pytest_fsmredir.report.plots import plots
from pytest_fsmredir.suite.benchmark.document import document, figure, point
from pytest_fsmredir.suite.benchmark.rounds import Asked, Measured, Sample, measure
from pytest_fsmredir.suite.benchmark.statistics import Difference, difference, estimated

if TYPE_CHECKING:
    from tests.unit.conftest import Project

CONNECT = (Load.CONNECTIONS, Case.CAPTURED)


class SimulatedBench:
    """Makes pairs whose pod with rules takes twice the time; it keeps a log of what is measured.

    Args:
        refused: Numbers of entries that the implementation refuses.
        lost: Numbers of entries with which connections arrive nowhere.
        loads: What a pair can send.
    """

    sources: Mapping[Metric, str] = {}
    resolutions: Mapping[Metric, float] = {Metric.MEMORY: 4096}
    unavailable: Mapping[str, str] = {}

    def __init__(
        self,
        refused: tuple[int, ...] = (),
        lost: tuple[int, ...] = (),
        loads: tuple[tuple[Load, Case], ...] = (CONNECT,),
    ) -> None:
        self.refused, self.lost, self.loads = refused, lost, loads
        self.log: list[tuple[int, Side]] = []

    @contextmanager
    def pair(self, entries: int) -> Iterator[Pair]:
        if entries in self.refused:
            raise UnmeasuredError("the list is too long")
        yield SimulatedPair(self, entries)

    def close(self) -> None:
        pass


class SimulatedPair:
    """A pair of a simulated bench."""

    programming_s, memory = 0.5, 8192.0
    sides = tuple(Side)

    def __init__(self, bench: SimulatedBench, entries: int) -> None:
        self._bench, self._entries, self.loads = bench, entries, bench.loads

    def measure(self, side: Side, load: Load, case: Case) -> Mapping[Metric, float]:
        assert (load, case) in self.loads
        if self._entries in self._bench.lost:
            raise UnmeasuredError("the connection arrived nowhere")
        self._bench.log.append((self._entries, side))
        if load is Load.DATAGRAMS:  # tracking alone costs what the rules cost
            return {Metric.DATAGRAMS: 2e5 if side is Side.PLAIN else 1e5}
        return {Metric.CONNECT_P50: 2e-5 if side is Side.RULES else 1e-5}


def measured(bench: SimulatedBench, rounds: int = 8, seed: int = 1) -> dict[str, Any]:
    """Return the results of some rounds with 0 and 15 entries."""
    asked, found = Asked((0, 15), rounds, 60, seed), Measured()
    measure(bench, asked, found)
    points = [point("<nft> & v4", asked, found, bench.resolutions)]
    return document(asked, points, bench.sources, bench.unavailable)


def samples(*ratios: float) -> list[Sample]:
    """Return samples with these ratios to a pod without rules, each round slower than the last."""
    return [Sample(ratio * number, number) for number, ratio in enumerate(ratios, 1)]


def test_ratio_is_the_median_of_the_rounds() -> None:
    """Catches: a mean that one slow round moves, or a ratio of values from different rounds."""
    found = figure(Metric.RATE, Case.DIRECT, samples(2, 2, 2, 2, 2, 2, 100), seed=1)
    assert found["ratio"] == {"value": 2.0, "low": 2.0, "high": 2.0}
    assert found["difference"] == "seen"


def test_interval_depends_on_the_values_and_the_seed_alone() -> None:
    """Catches: two reports of the same samples with different intervals."""
    values = [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6]
    first = estimated(values, seed=7)
    assert first == estimated(values, seed=7)
    assert first.value == 1.3
    assert first.low is not None
    assert first.high is not None
    assert 1.0 <= first.low < 1.3 < first.high <= 1.6


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((0.9, 0.95, 1.0, 1.0, 1.05, 1.1, 1.2), Difference.NONE_SEEN),
        ((1.2, 1.21, 1.22, 1.2, 1.21, 1.22), Difference.SEEN),
        ((0.8, 0.81, 0.82, 0.8, 0.81, 0.82), Difference.SEEN),
        ((1.2, 1.21, 1.22, 1.2, 1.21), Difference.UNKNOWN),
    ],
)
def test_difference_is_claimed_only_outside_the_interval(
    values: tuple[float, ...], expected: Difference
) -> None:
    """Catches: noise that is called a difference, or an interval from too few rounds."""
    assert difference(estimated(values, seed=1)) is expected


def test_memory_below_the_resolution_is_not_shown_as_a_figure() -> None:
    """Catches: a rule set that frees memory, or a figure finer than its measurement."""
    for values in ((-8, 8, -8, 8, -8, 8, 0), (4000,) * 7):
        noise = [Sample(value) for value in values]
        found = figure(Metric.MEMORY, None, noise, seed=1, resolution=4096)
        assert found["difference"] == "below resolution"
    clear = figure(Metric.MEMORY, None, [Sample(8192)] * 7, seed=1, resolution=4096)
    assert (clear["difference"], clear["value"], clear["resolution"]) == ("seen", 8192.0, 4096.0)


def test_memory_below_the_resolution_is_printed_with_it() -> None:
    """Catches: "0 B" for a rule set, where the measurement is too coarse to see it."""

    class Coarse(SimulatedBench):
        resolutions: Mapping[Metric, float] = {Metric.MEMORY: 1e6}

    (row,) = (row for row in benchmark_lines(measured(Coarse())) if row.startswith("rule memory"))
    assert row.split("  ")[-1].strip() == "below 1 MB"


def test_tracking_alone_is_compared_where_traffic_takes_the_same_path() -> None:
    """Catches: the cost of connection tracking that passes for the cost of rules."""
    datagrams = (Load.DATAGRAMS, Case.UDP)
    bench = SimulatedBench(loads=(CONNECT, datagrams))
    found = measured(bench)
    connect, udp = found["points"][0]["lists"][0]["figures"][2:]
    assert "beyondTracking" not in connect  # it ends in another pod than the captured connection
    assert udp["ratio"]["value"] == 0.5
    assert udp["beyondTracking"]["ratio"]["value"] == 1.0
    assert udp["beyondTracking"]["difference"] == "none seen"
    rows = [line.split() for line in benchmark_lines(found)]
    place = rows.index(["datagrams", "udp", "0.50", "±0.00", "0.50", "±0.00"])
    assert rows[place + 1] == ["beyond", "tracking", "same", "same"]


def test_rounds_are_interleaved() -> None:
    """Catches: one pod measured before the other, so that a slower machine looks like rules."""
    bench = SimulatedBench()
    measured(bench, rounds=8)
    rounds = [bench.log[start : start + 4] for start in range(0, 32, 4)]
    for each in rounds:
        first, second = each[:2], each[2:]
        assert {entries for entries, _ in first} != {entries for entries, _ in second}
        both = {Side.RULES, Side.PLAIN}
        assert {side for _, side in first} == {side for _, side in second} == both
    assert len({tuple(each) for each in rounds}) > 2
    again = SimulatedBench()
    measured(again, rounds=8)
    assert again.log == bench.log


def test_time_limit_keeps_the_first_round() -> None:
    """Catches: a slow implementation without figures, or a limit that ends no rounds."""
    asked, found = Asked((0, 15), 20, 0, 1), Measured()
    measure(SimulatedBench(), asked, found)
    assert found.rounds == {0: 1, 15: 1}
    assert not found.complete(asked)


def test_rounds_that_the_user_ends_are_not_complete() -> None:
    """Catches: figures of an interrupted run that pass for those of all rounds."""
    asked, found = Asked((0, 15), 20, 60, 1), Measured()

    def interrupt(number: int, _entries: int) -> None:
        if number == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(SimulatedBench(), asked, found, watch=interrupt)
    assert not found.complete(asked)
    assert measured(SimulatedBench())["points"][0]["complete"]


def test_what_cannot_be_measured_has_a_reason() -> None:
    """Catches: a refused list that ends the benchmark, or a figure without traffic."""
    small, large = measured(SimulatedBench(refused=(15,), lost=(0,)))["points"][0]["lists"]
    assert large == {"entries": 15, "rounds": 0, "refused": "the list is too long", "figures": []}
    reason = "the connection arrived nowhere"
    assert small["notMeasured"] == [
        {"load": "connections", "case": "captured", "reason": reason, "rounds": 3},
    ]
    assert {each["metric"] for each in small["figures"]} == {"programming", "rule memory"}


def test_one_round_is_singular() -> None:
    """Catches: "1 rounds"."""
    assert next(benchmark_lines(measured(SimulatedBench(), rounds=1))) == "<nft> & v4: 1 round"


def test_load_that_fails_once_is_measured_in_later_rounds() -> None:
    """Catches: one lost connection on a busy machine that ends a row for the whole benchmark."""

    class OnceLost(SimulatedBench):
        @contextmanager
        def pair(self, entries: int) -> Iterator[Pair]:
            with super().pair(entries) as made:
                yield made
            self.lost = ()

    found = measured(OnceLost(lost=(0, 15)))["points"][0]["lists"]
    assert [each["notMeasured"][0]["rounds"] for each in found if "notMeasured" in each] == [1]
    assert {each["figures"][-1]["metric"] for each in found} == {"connect p50"}


def test_table_names_ratio_and_reasons() -> None:
    """Catches: a ratio without its spread, or a missing figure without a reason."""
    lines = list(benchmark_lines(measured(SimulatedBench())))
    assert lines[0] == "<nft> & v4: 8 rounds"
    (row,) = (line for line in lines if line.startswith("connect p50"))
    assert row.split() == ["connect", "p50", "captured", "2.00", "±0.00", "2.00", "±0.00"]
    lines = list(benchmark_lines(measured(SimulatedBench(refused=(15,)), rounds=2)))
    (row,) = (line for line in lines if line.startswith("connect p50"))
    assert row.split() == ["connect", "p50", "captured", "2.00", "?", "-"]
    assert "  15 ranges: the list is too long" in lines


def test_plot_is_well_formed_and_escapes_text() -> None:
    """Catches: a name that breaks the picture, or a point that is not drawn."""
    drawn = plots(measured(SimulatedBench()))
    assert drawn.keys() == {"connect-p50.svg"}
    root = ET.fromstring(drawn["connect-p50.svg"])  # noqa: S314 - we drew it
    texts = [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "connect p50 · <nft> & v4" in texts
    titles = [each.text for each in root.iter("{http://www.w3.org/2000/svg}title")]
    assert "captured, 15 entries: 2 (2 to 2)" in titles


def test_metric_of_one_list_size_has_no_plot() -> None:
    """Catches: a picture of a single point."""
    assert plots(measured(SimulatedBench(refused=(15,)))) == {}


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [(2.1e-5, "s", "21 µs"), (0.0055, "s", "5.5 ms"), (1.83e9, "B/s", "1.83 GB/s"), (7, "1", "7")],
)
def test_quantity_has_a_readable_unit(value: float, unit: str, expected: str) -> None:
    """Catches: a figure that is off by a factor of 1,000."""
    assert quantity(value, unit) == expected


def test_ranges_cannot_be_merged() -> None:
    """Catches: an implementation that looks fast because it merged neighbours."""
    assert ranges(4, 3) == ["100.64.0.0/28", "100.64.0.32/28", "100.64.0.64/28"]
    assert len(set(ranges(6, 1000))) == 1000


def test_entries_are_sorted_and_unique(project: Project) -> None:
    """Catches: a list size that is measured twice."""
    settings = project.settings(benchmark=True, benchmark_entries="15,0,15", benchmark_rounds="3")
    assert (settings.benchmark_entries, settings.benchmark_rounds) == ((0, 15), 3)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("entries", "0,many", "'many' is not a number of list entries from 0 to 100000"),
        ("entries", "-1", "'-1' is not a number of list entries"),
        ("entries", "100001", "'100001' is not a number of list entries"),
        ("entries", "", "'' is not a number of list entries"),
        ("rounds", "0", "'0' is not a number of rounds from 1 to 1000"),
        ("rounds", "1001", "'1001' is not a number of rounds"),
        ("rounds", "few", "'few' is not a whole number"),
        ("time", "soon", "'soon' is not a number of seconds"),
        ("time", "0", "'0' is not"),
    ],
)
def test_bad_value_is_refused(project: Project, option: str, value: str, message: str) -> None:
    """Catches: a value that is ignored, or an error that does not name it."""
    with pytest.raises(SettingsError, match=f"--fsm-benchmark-{option}.*{message}"):
        project.settings({f"benchmark_{option}": value}, benchmark=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"benchmark_rounds": "3"}, "--fsm-benchmark-rounds has an effect in a benchmark only"),
        ({"benchmark": "true", "backend": "kind"}, "it measures on the backend netns only"),
    ],
)
def test_option_without_effect_is_refused(
    project: Project, options: dict[str, str], message: str
) -> None:
    """Catches: an option that a run accepts and ignores."""
    with pytest.raises(SettingsError, match=message):
        project.settings(options)
