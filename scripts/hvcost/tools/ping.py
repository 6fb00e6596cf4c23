"""ping of iputils: ICMP echo, which the kernel of the system answers; nothing has to run there.

The output is taken only if every line of it is known, and if its summary agrees with its answers: a
duplicate, an error (`Destination Host Unreachable`), a warning, or a text that was cut spoil the run. A probe
without an answer spoils nothing, it is lost. ping exits with 0 if there was any answer, also if it was
interrupted: what tells is how many probes it has sent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hvcost.errors import ParseError, shown
from hvcost.model.metric import (
    LOSS,
    ROUND_TRIP,
    ROUND_TRIP_P90,
    ROUND_TRIP_P99,
    ROUND_TRIP_P999,
    Value,
)
from hvcost.model.process import Process
from hvcost.model.record import End
from hvcost.tools import TRANSACTIONS, Tool, check_exit, output_of
from hvcost.tools.round_trips import check_answered, loss, percentiles

ICMP_HEADER_BYTES = 8
# ping says so if nobody has answered, and says nothing else about it.
NO_ANSWER_EXIT = 1
# The kernel's timers make ping slower than it was told, by up to a half; a busy machine does more.
SLOWER = 3
ROOM_S = 60.0
# Steps of what the summary prints: of times in ms, and of the share of losses in %, which has six digits.
SUMMARY_STEP_MS = 0.001
SHARE_STEP = 1e-3

_HEAD = re.compile(r"PING (\S+) \((\S+)\) ([0-9]{1,5})\([0-9]{1,5}\) bytes of data\.")
_ANSWER = re.compile(
    r"\[([0-9]{1,12}\.[0-9]{6})\] ([0-9]{1,5}) bytes from (\S+): "
    r"icmp_seq=([0-9]{1,5}) ttl=[0-9]{1,3} time=([0-9]{1,9}(?:\.([0-9]{1,3}))?) ms"
)
_COUNTS = re.compile(
    r"([0-9]{1,6}) packets transmitted, ([0-9]{1,6}) received, ([0-9]{1,3}(?:\.[0-9]{1,6})?)% packet loss, "
    r"time [0-9]{1,9}ms"
)
_TIMES = re.compile(
    r"rtt min/avg/max/mdev = ([0-9]{1,9}\.[0-9]{3})/([0-9]{1,9}\.[0-9]{3})/([0-9]{1,9}\.[0-9]{3})/"
    r"[0-9]{1,9}\.[0-9]{3} ms(?:, pipe [0-9]{1,6})?"
    r"(?:, ipg/ewma [0-9]{1,9}\.[0-9]{3}/[0-9]{1,9}\.[0-9]{3} ms)?"
)
# What others say on the same standard error, such as sudo of a name that nobody resolves.
_OTHERS = re.compile(r"(?!ping\b)[a-z]+: ")


@dataclass(frozen=True)
class Answer:
    """The answer to a probe: its number, from 1, when it came (Unix time in s), and its round trip in ms."""

    number: int
    at_s: float
    round_trip: Value


@dataclass(frozen=True)
class Probes:
    """What ping says of a run: how many probes it sent, and the answers in the order in which they came."""

    sent: int
    answers: tuple[Answer, ...]

    @property
    def round_trips(self) -> list[Value]:
        return [answer.round_trip for answer in self.answers]


@dataclass(frozen=True)
class PingOptions:
    """`count`: probes of a run. `interval_ms`: time from one to the next. `payload_bytes`: of each probe.

    The smallest payload is what ping needs to tell the time; the largest count is what has a number each.
    """

    # A 99th percentile has to be left if some are lost.
    count: int = field(default=1100, metadata={"minimum": 1, "maximum": 65_535})
    interval_ms: int = field(default=10, metadata={"minimum": 2, "maximum": 10_000})
    payload_bytes: int = field(default=56, metadata={"minimum": 16, "maximum": 8972})


class Ping(Tool):
    """`ping` on the client; the kernel of the system answers."""

    name = "ping"
    packages = ("iputils-ping",)
    version_argv = ("ping", "-V")
    version_begins = "ping from iputils"
    Options = PingOptions
    metrics = (ROUND_TRIP, ROUND_TRIP_P90, ROUND_TRIP_P99, ROUND_TRIP_P999, LOSS)
    details = (TRANSACTIONS,)

    def expected_s(self, options: PingOptions) -> float:
        return options.count * options.interval_ms / 1000

    def processes(self, options: PingOptions, address: str) -> tuple[Process, ...]:
        return (probing("client", options, address),)

    def read(self, options: PingOptions, outputs: Mapping[str, End]) -> Mapping[str, Value | str]:
        probes = probes_of("client", options, output_of(outputs, "client"))
        return {
            **percentiles(probes.round_trips, self.metrics[:-1]),
            LOSS.name: loss(probes.sent, len(probes.answers)),
            TRANSACTIONS.name: Value(float(len(probes.answers))),
        }


TOOL = Ping()


def probing(role: str, options: PingOptions, address: str) -> Process:
    """ping on the client, with the time of each answer."""
    argv = ["ping", "-n", "-D", "-c", str(options.count), "-i", f"{options.interval_ms / 1000:g}"]
    argv += ["-s", str(options.payload_bytes), address]
    return Process(role, "client", tuple(argv), limit_s=SLOWER * TOOL.expected_s(options) + ROOM_S)


def probes_of(role: str, options: PingOptions, end: End) -> Probes:
    """What a process says; ParseError that begins with its role if it is not what was asked for."""
    own = [line for line in end.stderr.splitlines() if line.strip() and not _OTHERS.match(line)]
    if own or end.exit_code != NO_ANSWER_EXIT:
        check_exit(role, end)
    if own:
        raise ParseError(f"{role}: ping reports trouble: {shown([own[0]])}")
    try:
        probes = parse(end.stdout, options.payload_bytes)
    except ParseError as error:
        raise ParseError(f"{role}: {error}") from error
    if probes.sent != options.count:
        raise ParseError(f"{role}: {probes.sent} probes were sent instead of {options.count}")
    if not probes.answers:
        raise ParseError(f"{role}: nobody answered any of {probes.sent} probes")
    check_exit(role, end)
    check_answered(role, probes.sent, max(answer.number for answer in probes.answers))
    return probes


def parse(text: str, payload_bytes: int) -> Probes:
    """What the output of a run with `-D` says; ParseError if it is not whole, or contradicts itself."""
    if not text.endswith("\n"):
        raise ParseError("the output is cut or empty")
    first, *lines = text[:-1].split("\n")
    head = _HEAD.fullmatch(first)
    if head is None:
        raise ParseError(f"unreadable first line: {shown([first])}")
    name, address, size = head.groups()
    if name != address or size != str(payload_bytes):
        raise ParseError(f"not of {payload_bytes} bytes to an address: {shown([first])}")
    if "" not in lines:
        raise ParseError("there is no summary: the run did not get to its end")
    end = lines.index("")
    answers = tuple(_answer(line, address, payload_bytes) for line in lines[:end])
    return _checked(answers, name, lines[end + 1 :])


def _answer(line: str, address: str, payload_bytes: int) -> Answer:
    found = _ANSWER.fullmatch(line)
    if found is None:
        raise ParseError(f"ping says: {shown([line])}")
    at_s, size, source, number, time_ms, digits = found.groups()
    if source != address or int(size) != payload_bytes + ICMP_HEADER_BYTES:
        raise ParseError(f"the answer to another probe: {shown([line])}")
    return Answer(int(number), float(at_s), Value(float(time_ms), 10.0 ** -len(digits or "")))


def _checked(answers: tuple[Answer, ...], name: str, summary: Sequence[str]) -> Probes:
    """The probes, if the summary is that of these answers."""
    if len(summary) != 3 or summary[0] != f"--- {name} ping statistics ---":
        raise ParseError(f"unreadable summary: {shown([' / '.join(summary)])}")
    counts = _COUNTS.fullmatch(summary[1])
    if counts is None:
        raise ParseError(f"ping says: {shown([summary[1]])}")
    sent, received, lost_share = int(counts[1]), int(counts[2]), float(counts[3])
    numbers = {answer.number for answer in answers}
    if len(numbers) != len(answers) or not numbers <= set(range(1, sent + 1)):
        raise ParseError(f"the answers are not those to {sent} probes")
    if received != len(answers) or abs(lost_share - 100 * (sent - received) / max(sent, 1)) > SHARE_STEP:
        raise ParseError(f"{len(answers)} answers do not agree with: {shown([summary[1]])}")
    if answers or summary[2]:
        _check_times([answer.round_trip for answer in answers], summary[2])
    return Probes(sent, answers)


def _check_times(round_trips: Sequence[Value], line: str) -> None:
    found = _TIMES.fullmatch(line)
    if found is None:
        raise ParseError(f"unreadable summary: {shown([line])}")
    times = [each.value for each in round_trips]
    seen = (min(times, default=0.0), sum(times) / max(len(times), 1), max(times, default=0.0))
    step = SUMMARY_STEP_MS + max((each.resolution or 0.0 for each in round_trips), default=0.0)
    if any(abs(float(said) - own) > step for said, own in zip(found.groups(), seen, strict=True)):
        raise ParseError(f"the answers' times do not agree with: {shown([line])}")
