"""The highest rate of datagrams of which next to nothing is lost, searched with iperf 2 over UDP.

This is the throughput of RFC 2544 (26.1): the highest rate is tried first, then the lowest, and then the
geometric mean of the highest that passed and the lowest that did not, so that the last bracket is equally
narrow, relative to the rate, wherever it is. Its width is the figure's resolution. A trial passes if the
share of datagrams that were lost is not above the bound. The RFC wants 0, and trials of 60 s; software loses
a few at any rate, and ten trials of a minute are ten minutes, so both are options.

Which number is right: losses as the receiver counted them; the rate is the one that was offered, and a trial
counts only if the client really wrote it. One that did not, and whose datagrams all arrived, says nothing of
the system: the search goes on below. If it ends there, the client was the limit and the run fails, since a
slow client measures itself. One that lost too much has lost it at a lower rate than was offered, so that the
offered rate is too high all the same.

A system that was given far too much may be busy with it for so long that the client, which repeats its last
datagram for two seconds, gets no report. Such a trial has not passed. What arrived of it is not known, so
that there are no packets of such a run. The next one waits until the system is itself again (RFC 2544, 23).
If no later trial has a report, the system may be gone, and the run fails.

The search itself is a program of the client's shell (iperf_udp_search.sh). What it decided is not believed:
every trial is read from both ends, and the search is gone through again.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hvcost.errors import ConfigError, ParseError
from hvcost.model.metric import LOSS, Metric, Value
from hvcost.model.process import Process
from hvcost.model.record import End
from hvcost.tools import PACKETS, TRANSFERRED, Tool, check_exit, output_of
from hvcost.tools.iperf2_datagrams import (
    MESSAGE,
    RATE,
    Arrived,
    Run,
    Sent,
    arrived,
    check_trouble,
    same_run,
    sent,
    server_of,
    too_slow,
)
from hvcost.wording import counted

SCRIPT = Path(__file__).with_suffix(".sh")
# What the client waits for the end of a trial, and then for the server; that after which it is given up; and
# how long a system that was given too much may be busy with it.
PAUSE_S = 1.1
TRIAL_ROOM_S = 15.0
PATIENCE_S = 60
ROOM_S = 60.0

LOSSLESS_RATE = Metric(
    "lossless_rate",
    "1/s",
    "packets per second without loss",
    about="It is the highest offered rate at which the share of lost packets was not above the bound, found "
    "by bisection. Where it is the highest rate that was to be tried, it is at least that.",
)

_UNHEARD = re.compile(r"^\[ *[0-9]+\] WARNING: did not receive ack of last datagram", re.MULTILINE)
_TRIAL = re.compile(r"@trial ([0-9]{1,9})\n((?:(?!@).*\n)*)@exit ([0-9]{1,3})\n")


@dataclass(frozen=True)
class IperfUdpSearchOptions:
    """`message_bytes`: payload of a datagram. `lowest_pps`, `highest_pps`: rates between which is searched.

    `trials`: how many at most, of `trial_s` each. `loss_per_million`: how many datagrams of a million may be
    lost in a trial that passes; RFC 2544 has 0.
    """

    message_bytes: int = field(default=64, metadata=MESSAGE)
    lowest_pps: int = field(default=100, metadata=RATE)
    highest_pps: int = field(default=100_000, metadata=RATE)
    trials: int = field(default=10, metadata={"minimum": 2, "maximum": 60})
    trial_s: int = field(default=2, metadata={"minimum": 1, "maximum": 3600})
    loss_per_million: int = field(default=1000, metadata={"minimum": 0, "maximum": 999_999})

    def __post_init__(self) -> None:
        if self.lowest_pps >= self.highest_pps:
            raise ConfigError(
                f"lowest_pps: {self.lowest_pps} is not allowed; allowed: less than highest_pps, "
                f"{self.highest_pps}"
            )


@dataclass(frozen=True)
class _Trial:
    """A trial as both ends saw it; `run` is None if the client got no report."""

    packets_per_s: int
    sent: Sent
    run: Run | None

    def passes(self, loss_per_million: int) -> bool:
        return not self.loses(loss_per_million) and self.sent.keeps(self.packets_per_s)

    def loses(self, loss_per_million: int) -> bool:
        return self.run is None or self.run.lost * 1_000_000 > loss_per_million * self.run.sent


class IperfUdpSearch(Tool):
    """`iperf -s -u` in the system, and a search that runs `iperf -c ADDRESS -u` on the client."""

    name = "iperf-udp-search"
    packages = ("iperf", "iputils-ping")
    version_argv = ("iperf", "--version")
    version_begins = "iperf version 2"
    Options = IperfUdpSearchOptions
    metrics = (LOSSLESS_RATE,)
    details = (
        PACKETS,
        TRANSFERRED,
        LOSS,
        Metric("trials", "1", "trials"),
        Metric("lowest_failed_rate", "1/s", "lowest rate that did not pass"),
    )

    def expected_s(self, options: IperfUdpSearchOptions) -> float:
        return options.trials * (options.trial_s + PAUSE_S)

    def processes(self, options: IperfUdpSearchOptions, address: str) -> tuple[Process, ...]:
        limit_s = options.trials * (options.trial_s + TRIAL_ROOM_S + PATIENCE_S) + ROOM_S
        numbers = (
            options.message_bytes,
            options.trial_s,
            options.trials,
            options.lowest_pps,
            options.highest_pps,
            options.loss_per_million,
            PATIENCE_S,
        )
        script = SCRIPT.read_text(encoding="utf-8")
        argv = ("sh", "-c", script, "search", address, *map(str, numbers))
        return (
            server_of(address, options.message_bytes, limit_s),
            Process("client", "client", argv, limit_s),
        )

    def read(self, options: IperfUdpSearchOptions, outputs: Mapping[str, End]) -> Mapping[str, Value | str]:
        """The highest rate that passed, and what led to it; `packets` are those of all trials."""
        client = output_of(outputs, "client")
        said = _said(options, client)
        server = output_of(outputs, "server")
        check_trouble("server", server)
        trials = _trials(said, arrived(server.stdout), options.message_bytes)
        passed, failed = _searched(options, trials)
        runs = {trial.packets_per_s: trial.run for trial in trials if trial.run}
        percent = 100 / runs[passed].sent
        return {
            "lossless_rate": Value(float(passed), None if failed is None else float(failed - passed)),
            **_arrived(options, trials),
            "loss": Value(runs[passed].lost * percent, percent),
            "trials": Value(float(len(trials)), 1.0),
            "lowest_failed_rate": (
                "none failed: the highest that was to be tried passed"
                if failed is None
                else Value(float(failed), 1.0)
            ),
        }


TOOL = IperfUdpSearch()


def _said(options: IperfUdpSearchOptions, client: End) -> list[tuple[int, Sent]]:
    """What the client says of each trial, with the rate that was to be offered."""
    check_exit("client", client)
    check_trouble("client", client)
    found = list(_TRIAL.finditer(client.stdout))
    if "".join(trial[0] for trial in found) + "@end\n" != client.stdout:
        raise ParseError("client: the output is not that of a search that came to its end")
    said = []
    for number, trial in enumerate(found, start=1):
        rate, text, status = trial.groups()
        try:
            if status != "0":
                raise ParseError(f"client: iperf ended with exit code {status}")
            each = sent(text, options.trial_s)
            if number == len(found):
                each.heard()
            said.append((int(rate), each))
        except ParseError as error:
            raise ParseError(f"{error} (trial {number}, at {rate}/s)") from error
    if sum(each.relayed is None for _, each in said) != len(_UNHEARD.findall(client.stderr)):
        raise ParseError(
            "client: reports of the server are missing that it got, or there that it did not get"
        )
    return said


def _trials(
    said: Sequence[tuple[int, Sent]], reports: Sequence[tuple[int, Arrived | None]], message_bytes: int
) -> list[_Trial]:
    """Trials with what the server reports of them, in their order; whatever it says of those unheard is left.

    It may have seen nothing of such a one, or its end and then, as another client, its end's repetitions.
    """
    left = list(reports)
    trials = []
    for rate, client in said:
        if client.relayed is None:
            while left and left[0][0] == client.port:
                left.pop(0)
            trials.append(_Trial(rate, client, None))
        elif left:
            trials.append(_Trial(rate, client, same_run(client, *left.pop(0), message_bytes)))
        else:
            break
    if left or len(trials) != len(said):
        raise ParseError(f"server: {len(reports)} reports of {len(said)} trials")
    return trials


def _arrived(options: IperfUdpSearchOptions, trials: Sequence[_Trial]) -> Mapping[str, Value | str]:
    """What arrived in all trials, or why nobody knows."""
    heard = [trial.run.arrived for trial in trials if trial.run]
    if unheard := len(trials) - len(heard):
        why = f"not known: no report came of {counted(unheard, 'trial')}"
        return {"packets": why, "transferred": why}
    size = options.message_bytes
    return {
        "packets": Value(float(sum(heard)), 1.0),
        "transferred": Value(float(sum(heard) * size), float(size)),
    }


def _searched(options: IperfUdpSearchOptions, trials: Sequence[_Trial]) -> tuple[int, int | None]:
    """The highest rate that passed and the lowest that did not, None if none failed.

    ParseError if the trials are not those of the search, or no figure comes of them.
    """
    left = list(trials)

    def at(rate: int) -> _Trial:
        if not left or left[0].packets_per_s != rate:
            there = f"{left[0].packets_per_s}/s" if left else "nothing more"
            raise ParseError(
                f"client: the search went on with {there} where {rate}/s follows from its trials"
            )
        return left.pop(0)

    def passes(trial: _Trial) -> bool:
        return trial.passes(options.loss_per_million)

    high = at(options.highest_pps)
    if passes(high):
        _check_end(left)
        return high.packets_per_s, None
    low = at(options.lowest_pps)
    if not passes(low):
        _check_end(left)
        raise ParseError(_none_passed(options, low))
    while len(trials) - len(left) < options.trials and high.packets_per_s - low.packets_per_s > 1:
        middle = math.floor(math.sqrt(low.packets_per_s * high.packets_per_s))
        trial = at(max(middle, low.packets_per_s + 1))
        low, high = (trial, high) if passes(trial) else (low, trial)
    _check_end(left)
    if not high.loses(options.loss_per_million):
        raise ParseError(
            f"client: without loss the system takes at least {low.packets_per_s}/s, but more could not be "
            f"offered: {too_slow(high.sent, high.packets_per_s)} (option highest_pps)"
        )
    return low.packets_per_s, high.packets_per_s


def _check_end(left: list[_Trial]) -> None:
    if left:
        raise ParseError(f"client: the search went on after its end, with {left[0].packets_per_s}/s")


def _none_passed(options: IperfUdpSearchOptions, low: _Trial) -> str:
    if low.run and low.loses(options.loss_per_million):
        return (
            f"server: even at lowest_pps, {low.packets_per_s}/s, {low.run.lost} of {low.run.sent} datagrams "
            f"were lost, which is more than {options.loss_per_million} per million"
        )
    return f"client: {too_slow(low.sent, low.packets_per_s)} (option lowest_pps)"
