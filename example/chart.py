"""Draws the sales of a month as SVG: the places are counted here, ``sales.svg`` draws and escapes."""

from __future__ import annotations

import calendar
from dataclasses import dataclass
from datetime import date

from flask import render_template

from . import money
from .orders import Day

WIDTH, HEIGHT = 960, 360
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 24, 40
LIGHT = {"text": "#191b1f", "muted": "#565c66", "line": "#e3e5e9", "bar": "#0c7a62", "weekend": "#8fc4b6"}
DARK = {"text": "#e8eaed", "muted": "#a2a8b2", "line": "#2a2e35", "bar": "#4cc3a5", "weekend": "#2b7463"}


@dataclass(frozen=True)
class Bar:
    """One day, placed."""

    day: Day
    x: float
    y: float
    width: float
    height: float
    label: str
    is_weekend: bool


@dataclass(frozen=True)
class Line:
    """A line of the scale."""

    y: float
    label: str


def draw_chart(month: str, title: str, days: list[Day], palette: dict[str, str]) -> str:
    """Return the chart.

    :param month: such as ``2026-06``.
    :param title: what to call it.
    :param days: the days with orders.
    :param palette: :data:`LIGHT` or :data:`DARK`.
    """
    year, number = (int(part) for part in month.split("-"))
    length = calendar.monthrange(year, number)[1]
    sold = {day.date: day for day in days}
    step, top = _scale(max((day.euro_cents for day in days), default=0))
    room, floor = (WIDTH - LEFT - RIGHT) / length, HEIGHT - BOTTOM
    height = floor - TOP
    bars = []
    for index in range(length):
        today = date(year, number, index + 1)
        day = sold.get(today, Day(today, 0, 0, 0))
        tall = height * day.euro_cents / top
        bars.append(
            Bar(
                day=day,
                x=round(LEFT + index * room + room * 0.14, 1),
                y=round(floor - tall, 1),
                width=round(room * 0.72, 1),
                height=round(tall, 1),
                label=f"{today:%a} {today.day}: {money.rounded(day.euro_cents)}, {day.orders} orders",
                is_weekend=today.weekday() >= 5,
            )
        )
    lines = [Line(round(floor - height * amount / top, 1), money.rounded(amount)) for amount in range(0, top + 1, step)]
    return render_template(
        "sales.svg",
        title=title,
        bars=bars,
        lines=lines,
        palette=palette,
        width=WIDTH,
        height=HEIGHT,
        left=LEFT,
        right=WIDTH - RIGHT,
        floor=floor,
    )


def _scale(highest: int) -> tuple[int, int]:
    """Return the step between the scale's lines and its top, in cents: round numbers, three to six lines."""
    step = 100
    while True:
        for factor in (1, 2, 5):
            if step * factor * 5 >= highest:
                step *= factor
                return step, step * max(1, -(-highest // step))
        step *= 10
