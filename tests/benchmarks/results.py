"""What was measured: samples in rounds, and the tables that are made of them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NamedTuple

from .contenders import BASELINES, ENTRIES, entry_of


class Measurement(NamedTuple):
    """A heading, and what is in the table below it."""

    title: str
    unit: str
    digits: int = 0

    def written(self, value: float) -> str:
        return f"{value:,.{self.digits}f}"


class Table(NamedTuple):
    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]

    def as_text(self) -> str:
        """Return the table for a terminal: the first column to the left, numbers to the right."""
        widths = [max(map(len, column)) for column in zip(self.heads, *self.rows, strict=True)]
        lines = [self.title, "=" * len(self.title)]
        for first, *others in (self.heads, *self.rows):
            numbers = (cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))
            lines.append("   ".join((first.ljust(widths[0]), *numbers)))
        return "\n".join(lines)

    def as_rst(self) -> str:
        """Return the table for the documentation."""
        lines = [f".. list-table:: {self.title}", "    :header-rows: 1", ""]
        for row in (self.heads, *self.rows):
            lines += [f"    {'  -' if number else '* -'} {cell}".rstrip() for number, cell in enumerate(row)]
        return "\n".join(lines)


class Results:
    """Samples of each measurement and contender. The samples of one round were taken close to one another."""

    def __init__(self) -> None:
        self._samples: dict[Measurement, dict[str, dict[int, float]]] = {}

    def note(self, measurement: Measurement, key: str, round_number: int, value: float) -> None:
        self._samples.setdefault(measurement, {}).setdefault(key, {})[round_number] = value

    def tables(self) -> list[Table]:
        """Return one table for each measurement, contenders in their order."""
        return [self._table(measurement, found) for measurement, found in self._samples.items()]

    def _table(self, measurement: Measurement, found: dict[str, dict[int, float]]) -> Table:
        order = [entry.key for entry in ENTRIES if entry.key in found]
        rows = []
        for key in order:
            values = list(found[key].values())
            middle, low, high = (measurement.written(pick(values)) for pick in (statistics.median, min, max))
            rows.append((entry_of(key).title, middle, f"{low} .. {high}", self._ratio(found, key)))
        return Table(f"{measurement.title}, {measurement.unit}", ("", "median", "min .. max", "to stock Huey"), rows)

    def _ratio(self, found: dict[str, dict[int, float]], key: str) -> str:
        """Return the ratios to stock Huey on the same kind of storage, each of one round: their median and span."""
        base = found.get(BASELINES[entry_of(key).storage], {})
        ratios = [value / base[number] for number, value in found[key].items() if base.get(number)]
        if not ratios:
            return ""
        middle = f"{statistics.median(ratios):.2f}"
        return (
            middle
            if len(ratios) == 1 or key in BASELINES.values()
            else f"{middle} ({min(ratios):.2f} .. {max(ratios):.2f})"
        )


def quantile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least ``share`` of all do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]
