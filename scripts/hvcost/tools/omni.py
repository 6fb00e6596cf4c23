"""What netperf's request/response tests have in common: command line, report, and when a run counts.

One process of netperf asks, netserver in the system answers, with one request outstanding, until the time is
over. netperf tells the percentiles of its own histogram, so the time that a request waited is by the client's
clock. All is asked for as key=value lines, which 2.7.0 and 2.7.1 print alike, also with the other at the far
end. A report counts only if all of this holds:

- It has the lines that were asked for, in their order, each whole, and no other.
- It is of the test, the sizes and the time that were ordered. One who interrupts netperf gets a report of
  the time so far, with exit code 0.
- netserver, at the end, has told over the control connection what it received and sent: that is the client's
  count, and the one exchange that the end may have cut.
- Rate, transactions, time and mean agree. As one request follows the other, the transactions take all of the
  time, but for what the client itself does in between. What they do not account for is how a loss over UDP
  shows: UDP_RR sends nothing again, waits until the time is over, and tells good percentiles of few exchanges
  with exit code 0. Not seen is a loss so near to the end that the wait could be the client's, or that of a
  request which the end cut: twice the longest round trip, 5 % of the time and 0.1 s. The rate is too low by
  no more than that, and the percentiles are right. TCP sends again, so a busy client spoils no run there.

netperf's histogram has ninety steps in each decade from 10 us on, and interpolates between them: a percentile
is known to a step, which is its resolution. The 50th, 90th and 99th are all that it tells: Debian's builds do
not print the histogram itself (`-v 2`), of which further ones could be had.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from hvcost.errors import ParseError
from hvcost.model.metric import Value
from hvcost.model.process import Listening, Process
from hvcost.model.record import End
from hvcost.tools import check_exit, check_lasted, output_of

PACKAGES = ("netperf",)
# Debian 12's would start a netserver when it is installed, and at each boot.
AUTOSTART = ("/etc/init.d/netperf",)
VERSION_ARGV = ("netperf", "-V")
VERSION_BEGINS = "Netperf version 2.7"

PORT = 12865
GREETING = "Starting netserver with host"
# After a test of connections, netserver waits so long for one more, and netperf for its word (PAD_TIME).
LISTENS_ON_S = 4.0
# For that and for the control connection. netperf waits without end for a system that has vanished.
ROOM_S = 60.0

# Names of netperf's manual, section 9.3.1 (omni output selectors). The last line is whole if all is there.
KEYS = (
    "PROTOCOL",
    "DIRECTION",
    "REQUEST_SIZE",
    "RESPONSE_SIZE",
    "LOCAL_BYTES_SENT",
    "LOCAL_BYTES_RECVD",
    "REMOTE_BYTES_RECVD",
    "REMOTE_BYTES_SENT",
    "LOCAL_TRANSPORT_RETRANS",
    "REMOTE_TRANSPORT_RETRANS",
    "MIN_LATENCY",
    "P50_LATENCY",
    "P90_LATENCY",
    "P99_LATENCY",
    "MAX_LATENCY",
    "MEAN_LATENCY",
    "TRANSACTION_RATE",
    "ELAPSED_TIME",
)
COUNTS = KEYS[4:15]
COUNT = re.compile(r"-?[0-9]{1,18}")
DECIMAL = re.compile(r"[0-9]{1,12}\.([0-9]{2,3})")

# Protocol and direction as netperf tells them, by its test.
TESTS = {
    "TCP_RR": ("TCP", "Send|Recv"),
    "UDP_RR": ("UDP", "Send|Recv"),
    "TCP_CRR": ("TCP", "Connect|Send|Recv"),
}
# Of the time, what is spent between two transactions; and what the end of the last connection takes.
UNACCOUNTED_SHARE = 0.05
UNACCOUNTED_S = 0.1
# A median of fewer is that of single round trips.
LEAST_FOR_MEDIAN = 5
# From so many transactions on there is a percentile: the ten slowest are beyond it.
LEAST_FOR_P90 = 100
LEAST_FOR_P99 = 1000


@dataclass(frozen=True)
class Order:
    """What netperf is to do: its test, for how long in s, and the sizes of both messages in bytes."""

    test: str
    duration_s: int
    request_bytes: int
    response_bytes: int


@dataclass(frozen=True)
class Report:
    """What netperf tells of a test: transactions, time in s, rate in 1/s, percentiles, retransmissions.

    `noun` is what its transactions are called. Retransmissions are -1 where the kernel does not tell them.
    """

    noun: str
    transactions: int
    elapsed: Value
    rate: Value
    mean_us: float
    p50_us: int
    p90_us: int
    p99_us: int
    max_us: int
    client_retransmissions: int
    server_retransmissions: int

    def median_ms(self) -> Value:
        """The median; there always is one."""
        return _ms(self.p50_us)

    def p90_ms(self) -> Value | str:
        """The 90th percentile, or why there is none."""
        return self._percentile(self.p90_us, "90th", LEAST_FOR_P90)

    def p99_ms(self) -> Value | str:
        """The 99th percentile, or why there is none."""
        return self._percentile(self.p99_us, "99th", LEAST_FOR_P99)

    def _percentile(self, us: int, which: str, least: int) -> Value | str:
        if self.transactions < least:
            return f"{self.transactions} {self.noun}, fewer than {least}, so no {which} percentile"
        return _ms(us)


def processes(order: Order, address: str) -> tuple[Process, Process]:
    """netserver in the system at `address`, and netperf on the client."""
    netperf = (
        *("netperf", "-H", address, "-t", order.test, "-l", str(order.duration_s), "-P", "0", "-j", "--"),
        *("-r", f"{order.request_bytes},{order.response_bytes}", "-k", ",".join(KEYS)),
    )
    limit_s = order.duration_s + ROOM_S
    server = ("netserver", "-D", "-L", address)
    return (
        Process("server", "server", server, limit_s, Listening(PORT), GREETING),
        Process("client", "client", netperf, limit_s),
    )


def read(order: Order, outputs: Mapping[str, End], noun: str) -> Report:
    """The report of a test that was run as ordered; ParseError with the reason if it is none.

    netserver's own output says nothing of a test, but has to be there: what it counted is in the report.
    """
    client = output_of(outputs, "client")
    check_exit("client", client)
    if client.stderr.strip():
        raise ParseError(f"client: netperf reports trouble: {client.stderr.strip()}")
    report = parse(order, client.stdout, noun)
    server = output_of(outputs, "server")
    if server.stderr.strip():
        raise ParseError(f"server: netserver reports trouble: {server.stderr.strip()}")
    return report


def parse(order: Order, text: str, noun: str) -> Report:
    """What netperf's standard output says of a test; ParseError if that is no report of what was ordered.

    `noun` is what its transactions are called.
    """
    said = _lines(text)
    _check_ordered(order, said)
    counts = {key: _count(said, key) for key in COUNTS}
    report = Report(
        noun=noun,
        transactions=counts["LOCAL_BYTES_RECVD"] // order.response_bytes,
        elapsed=_decimal(said, "ELAPSED_TIME"),
        rate=_decimal(said, "TRANSACTION_RATE"),
        mean_us=_decimal(said, "MEAN_LATENCY").value,
        p50_us=counts["P50_LATENCY"],
        p90_us=counts["P90_LATENCY"],
        p99_us=counts["P99_LATENCY"],
        max_us=counts["MAX_LATENCY"],
        client_retransmissions=counts["LOCAL_TRANSPORT_RETRANS"],
        server_retransmissions=counts["REMOTE_TRANSPORT_RETRANS"],
    )
    _check_both_ends(order, counts, report.transactions)
    _check_time(order, report)
    if report.transactions < LEAST_FOR_MEDIAN:
        raise ParseError(f"client: {report.transactions} {noun}, fewer than {LEAST_FOR_MEDIAN}, so no median")
    _check_latencies(counts, report)
    return report


def _lines(text: str) -> dict[str, str]:
    """Values as they are printed, by key."""
    if not text.strip():
        raise ParseError("client: the output is empty")
    *lines, rest = text.split("\n")
    pairs = [line.partition("=") for line in lines]
    if rest or tuple(key for key, _, _ in pairs) != KEYS:
        raise ParseError("client: the output is not the report that was asked for, or it was cut")
    return {key: value for key, _, value in pairs}


def _count(said: Mapping[str, str], key: str) -> int:
    if not COUNT.fullmatch(said[key]):
        raise ParseError(f"client: {key} is no whole number: {said[key]!r}")
    return int(said[key])


def _decimal(said: Mapping[str, str], key: str) -> Value:
    """A number, and one step of its last digit."""
    number = DECIMAL.fullmatch(said[key])
    if number is None:
        raise ParseError(f"client: {key} is no number: {said[key]!r}")
    return Value(float(said[key]), 10.0 ** -len(number[1]))


def _check_ordered(order: Order, said: Mapping[str, str]) -> None:
    """ParseError unless it is of the test and the sizes that were ordered."""
    protocol, direction = TESTS[order.test]
    wanted = {
        "PROTOCOL": protocol,
        "DIRECTION": direction,
        "REQUEST_SIZE": str(order.request_bytes),
        "RESPONSE_SIZE": str(order.response_bytes),
    }
    for key, value in wanted.items():
        if said[key] != value:
            raise ParseError(f"client: the report is of {key} {said[key]!r} instead of {value!r}")


def _check_both_ends(order: Order, counts: Mapping[str, int], transactions: int) -> None:
    """ParseError unless both ends counted the same exchanges, and the one that the end may have cut."""
    received = counts["LOCAL_BYTES_RECVD"]
    if received != transactions * order.response_bytes:
        raise ParseError(f"client: {received} bytes are no whole responses of {order.response_bytes}")
    for role, key, size in (
        ("client", "LOCAL_BYTES_SENT", order.request_bytes),
        ("server", "REMOTE_BYTES_RECVD", order.request_bytes),
        ("server", "REMOTE_BYTES_SENT", order.response_bytes),
    ):
        if not transactions * size <= counts[key] <= (transactions + 1) * size:
            raise ParseError(
                f"{role}: {key} is {counts[key]}, but the client had {transactions} answers of exchanges "
                f"with {size} bytes: they did not see the same run"
            )


def _check_time(order: Order, report: Report) -> None:
    """ParseError unless it took the time that was ordered, and its transactions took all of that."""
    elapsed_s, step_s = report.elapsed.value, report.elapsed.resolution or 0.0
    check_lasted(elapsed_s, order.duration_s)
    # The rate is of the exact time. A connection that the end cut after its answer is not in it.
    slack = report.rate.value * step_s / 2 + 1.5
    if abs(report.rate.value * elapsed_s - report.transactions) > slack:
        raise ParseError(
            f"client: {report.transactions} {report.noun} in {elapsed_s:g} s do not make the rate of "
            f"{report.rate.value:g}/s"
        )
    busy_s = report.transactions * report.mean_us / 1e6
    allowance_s = UNACCOUNTED_SHARE * elapsed_s + UNACCOUNTED_S + 2 * report.max_us / 1e6
    is_lost = order.test == "UDP_RR" and elapsed_s - busy_s > allowance_s
    if is_lost or busy_s - elapsed_s > allowance_s:
        lost = "; over UDP, that is an exchange that was lost" if is_lost else ""
        raise ParseError(
            f"client: {report.transactions} {report.noun} account for {busy_s:.2f} s of {elapsed_s:g} s{lost}"
        )


def _check_latencies(counts: Mapping[str, int], report: Report) -> None:
    """ParseError unless minimum, percentiles, mean and maximum are in order, but for a step of each."""
    least, most = counts["MIN_LATENCY"], counts["MAX_LATENCY"]
    in_order = (
        0 < report.p50_us <= report.p90_us <= report.p99_us <= most + _step_us(most)
        and 0 <= least <= report.mean_us <= most
        and least <= report.p50_us + _step_us(report.p50_us)
    )
    if not in_order:
        raise ParseError("client: minimum, percentiles, mean and maximum are not in order")


def _ms(us: int) -> Value:
    return Value(us / 1000, _step_us(us) / 1000)


def _step_us(us: int) -> int:
    """The step of netperf's histogram that holds a time: a tenth of its decade, and 1 us at least."""
    return max(1, 10 ** (len(str(us)) - 2)) if us >= 10 else 1
