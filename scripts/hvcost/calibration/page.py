"""The calibration as a page of the documentation."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence

from hvcost.calibration.expectations import (
    DELAY_ERROR,
    DELAY_ERROR_MS,
    DUPLEX_ERROR,
    MOST_PPS,
    OFFERED,
    RATE_ERROR,
    REPETITIONS,
    SIGMAS,
    Property,
    rule_of,
)
from hvcost.calibration.measurement import Measured
from hvcost.calibration.table import Agreement, Row, agreements, rows, without_rule
from hvcost.model.metric import THROUGHPUT, Metric
from hvcost.report.numbers import bracketed, rounded
from hvcost.tools import tool_names, versions_of
from hvcost.wording import counted, difference_unit, listed, sentence_case

# From this share on, processors may be what limits a run.
FULL = 0.85

PAGE = """\
# What the tools say of links that are known

Made on {date} by `python scripts/calibrate.py --output docs/calibration.md`, by the way in which a
session measures bare metal: the same processes, the same check of each run. {kept} of {all} medians are
within their stated error.

{machines}

{versions}

Two network namespaces are joined by a link whose properties are set. *Measured* is the median of
{repetitions} short runs, or of so many as counted, with its interval (95 % or more). *Error* is what is
stated of such a median: by so much it may be off.

## Rate

The link is tc-tbf(8) in both directions, framing included, without delay and loss. Expected is what follows
from the rate and the sizes of the headers; error: {rate_error} of it, and a step of the tool's last digit.
Datagrams are offered at {offered} of what the link carries, but at most {most_pps} in a second; a stream
beside another one is {duplex_error} sure.

{rate}

Tools that measure the same thing on the same link, in rounds of one run each: the second in shares of the
first, round by round. They agree unless the whole interval differs from 1 by more than the error.

{agreements}

## Delay

netem (tc-netem(8)) holds back each packet, in both directions. Expected is the median of the same tool and
metric without delay, and what is added; error: {delay_error} of what is added, {delay_error_ms} ms, how far
the interval without delay reaches, since a machine's own time is known no better, and a step of the tool's
last digit. What happens one after the other also ends with a run, wherever it is.

{delay}

## Loss

netem drops packets on the way to the system, each by lot. So a run of few packets has another share than is
set: the error is {sigmas} standard errors of such a median. Where nothing is dropped, it is the margin
within which systems are called equivalent.

{loss}

## What is expected, and why

{rules}

## Nothing expected

TCP under loss or a long delay has no simple expectation: what it reaches is a matter of congestion control.
It is left out. There are no expectations of these either, which follow from machines and not from the link
alone:

{without}
"""


def page(measured: Sequence[Measured], day: datetime.date) -> str:
    """The page in Markdown."""
    tables = {tells: rows(measured, tells) for tells in ("rate", "delay", "loss")}
    every = [row for table in tables.values() for row in table]
    return PAGE.format(
        date=day.isoformat(),
        kept=sum(row.is_kept for row in every),
        all=sum(row.is_told for row in every),
        machines=_machines(measured),
        versions=_versions(measured),
        repetitions=REPETITIONS,
        rate_error=f"{100 * RATE_ERROR:g} %",
        offered=f"{100 * OFFERED:g} %",
        most_pps=MOST_PPS,
        duplex_error=f"± {100 * DUPLEX_ERROR:g} %",
        delay_error=f"{100 * DELAY_ERROR:g} %",
        delay_error_ms=f"{DELAY_ERROR_MS:g}",
        sigmas=f"{SIGMAS:g}",
        agreements=_agreements(agreements(measured)),
        rules=_rules(every),
        without=_without(),
        **{tells: _table(table) for tells, table in tables.items()},
    )


def _machines(measured: Sequence[Measured]) -> str:
    """Where each kind of link was, and what that is."""
    found: dict[str, Measured] = {each.where: each for each in measured}
    lines = []
    for where, one in found.items():
        told = {tells for each in measured if each.where == where for tells in each.setting.tells}
        about = [str(one.facts[key]) for key in ("system", "cpu_model") if key in one.facts]
        processors = counted(int(one.facts.get("cpus", 0)), "processor")
        lines.append(
            f"- {sentence_case(where)} ({listed(each for each in _PROPERTIES if each in told)}): "
            f"{listed(about)}, {processors}, Linux {one.facts.get('kernel')}."
        )
    return "\n".join(lines)


_PROPERTIES: tuple[Property, ...] = ("rate", "delay", "loss")


def _versions(measured: Sequence[Measured]) -> str:
    places = list(dict.fromkeys(each.where for each in measured))
    lines = []
    for tool in tool_names():
        (fact,) = versions_of([tool])
        versions = [
            next(
                (str(each.facts[fact]) for each in measured if each.where == where and fact in each.facts), ""
            )
            for where in places
        ]
        lines.append((f"`{tool}`", *versions))
    return _lines(("tool", *(f"on {where}" for where in places)), lines)


def _table(table: Sequence[Row]) -> str:
    header = ("link", "tool", "metric", "where", "expected", "measured", "deviation", "error", "kept")
    return _lines(header, (_row(row) for row in table))


def _row(row: Row) -> tuple[str, ...]:
    size, unit = _unit(row.metric)
    median, interval = row.figures.median, row.figures.interval
    place = (str(row.setting), f"`{row.tool}`", row.metric.title, row.where)
    wanted = f"{_number(row.expected.value / size)} {unit}"
    error = f"{_number(row.expected.error / size)} {difference_unit(unit)}"
    if median is None:
        verdict = "**no value**" if row.is_told else "not told"
        return (*place, wanted, f"none: {row.figures.reasons[0]}", "", error, verdict)
    low, high = (interval.low / size, interval.high / size) if interval else (None, None)
    told = len(row.figures.values)
    of = "" if told == REPETITIONS else f" ({told} of {REPETITIONS} runs)"
    return (
        *place,
        wanted,
        f"{bracketed(median / size, low, high)}{of}",
        f"{'+' if median > row.expected.value else ''}{_number((median - row.expected.value) / size)}",
        error,
        "yes" if row.is_kept else f"**no**{_excuse(row)}",
    )


def _excuse(row: Row) -> str:
    """That the machine may be what was measured."""
    if row.busy is None or row.busy < FULL:
        return ""
    return f": the processors were {row.busy:.0%} busy"


def _agreements(found: Sequence[Agreement]) -> str:
    return _lines(
        ("link", "metric", "tools", "ratio", "agree"),
        (
            (
                str(each.setting),
                each.metric.title,
                " and ".join(f"`{tool}`" for tool in each.tools),
                bracketed(
                    each.median,
                    each.interval.low if each.interval else None,
                    each.interval.high if each.interval else None,
                ),
                "yes" if each.agrees else "**no**",
            )
            for each in found
        ),
    )


def _rules(every: Iterable[Row]) -> str:
    found = {row.metric.title: rule.words for row in every if (rule := rule_of(row.metric))}
    return "\n".join(f"- {sentence_case(title)}: {words}." for title, words in found.items())


def _without() -> str:
    found: Mapping[str, Sequence[str]] = without_rule(tool_names())
    return "\n".join(
        f"- {sentence_case(title)} (of {listed(f'`{tool}`' for tool in tools)})"
        for title, tools in found.items()
    )


def _unit(metric: Metric) -> tuple[float, str]:
    """By what a metric's values are divided to be shown, and the unit that they have then."""
    return (1e6, "Mbit/s") if metric.unit == THROUGHPUT.unit else (1.0, metric.unit)


def _number(value: float) -> str:
    return rounded(value) if value else "0"


def _lines(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    every = [header, ["---"] * len(header), *lines]
    if len(every) == 2:
        return "There is nothing to compare."
    return "\n".join(f"| {' | '.join(line)} |" for line in every)
