"""A tool of round trips that is no part of the project, and an experiment with it beside the study's own."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import factories
import pytest
from hvcost import tools
from hvcost.analysis import measurements, rows
from hvcost.analysis.metrics import known
from hvcost.figures import sheets
from hvcost.model.description import environment_from
from hvcost.model.metric import (
    ROUND_TRIP,
    ROUND_TRIP_P90,
    ROUND_TRIP_P99,
    ROUND_TRIP_P999,
    TRANSACTION_RATE,
    Value,
)
from hvcost.model.process import Process
from hvcost.model.record import End, Record
from hvcost.report import inputs, page

TRIPS = (ROUND_TRIP, ROUND_TRIP_P90, ROUND_TRIP_P99, ROUND_TRIP_P999)
# Percentiles beside the median, where a run has all of them.
TAIL = (1.0, 1.3, 2.4, 9.0)
RUN_S = 5.0


@dataclass(frozen=True)
class AnsweringOptions:
    """Options of the tool: there are none that matter."""

    request_bytes: int = 1


class Answering(tools.Tool):
    """What a request takes to be answered."""

    name = "answering"
    packages = ("coreutils",)
    version_argv = ("true", "--version")
    Options = AnsweringOptions
    metrics = (*TRIPS, TRANSACTION_RATE)
    details = (tools.TRANSACTIONS,)

    def expected_s(self, options: Any) -> float:
        """Five seconds."""
        return RUN_S

    def processes(self, options: Any, address: str) -> tuple[Process, ...]:
        """The client alone."""
        return (Process("client", "client", ("true",), 60),)

    def read(self, options: Any, outputs: Mapping[str, End]) -> Mapping[str, Value | str]:
        """Percentiles, then the rate; one that is `none` is not available."""
        words = tools.output_of(outputs, "client").stdout.split()
        found: dict[str, Value | str] = {
            metric.name: "fewer than 10,000 round trips" if word == "none" else Value(float(word), 0.001)
            for metric, word in zip(self.metrics, words, strict=True)
        }
        return found | {tools.TRANSACTIONS.name: Value(float(words[-1]) * RUN_S)}


@contextmanager
def there() -> Iterator[None]:
    """The tool is there, as if its file were beside the others."""
    every = {**tools._tools(), "answering": Answering()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tools, "_tools", lambda: every)
        known.cache_clear()
        yield
    known.cache_clear()


def records(medians_ms: Mapping[str, float], *, environment: str = "env1", without: str = "") -> list[Record]:
    """Repetitions of several systems around these medians; `without`: one that has no 99.9th percentile."""
    noise = random.Random(2010)
    made = []
    for each in factories.raw_records(dict.fromkeys(medians_ms, 1e8), environment=environment):
        median = medians_ms[each.system] * noise.uniform(0.95, 1.05)
        trips = [f"{median * factor * noise.uniform(0.98, 1.02):.4f}" for factor in TAIL]
        if each.system == without:
            trips[-1] = "none"
        said = factories.end("client", " ".join([*trips, f"{1000 / median:.1f}"]))
        made.append(
            replace(
                each,
                workload="rr",
                spec={**each.spec, "workload": {"tool": "answering", "request_bytes": 1}},
                outputs={"client": said},
                witnesses={"client": factories.witness()},
            )
        )
    return made


GIGABIT = {"bare-metal": 567e6, "xen": 150e6, "virtualbox": 60e6, "qemu": 41e6, "kvm": 184e6}
HELD = {"bare-metal": 94.1e6, "xen": 94.0e6, "virtualbox": 50e6, "qemu": 17.6e6, "kvm": 93.8e6}
TRIPS_MS = {"bare-metal": 0.22, "xen": 0.61, "virtualbox": 2.4, "qemu": 3.1, "kvm": 0.22}
SPENT_S = {"bare-metal": 6.0, "xen": 17.0, "virtualbox": 30.0, "qemu": 31.0, "kvm": 17.4}


def results(folder: Path, *, pictures: bool = False) -> None:
    """Results of an experiment of the default's kind: throughput and round trips over two links.

    `pictures`: with real figures in place of grey ones.
    """
    every: list[Record] = []
    environments: list[dict[str, Any]] = []
    for name, rates, rate_mbit in (("env1", GIGABIT, 1000), ("env2", HELD, 100)):
        made = factories.raw_records(rates, environment=name, failed={("virtualbox", 3)})
        made += records(TRIPS_MS, environment=name, without="qemu")
        noise = random.Random(1)
        every += [
            replace(each, cpu_time_s={"user": SPENT_S[each.system] * noise.uniform(0.97, 1.03)})
            for each in made
        ]
        config = factories.environment_config(*rates, id=name, rate_mbit=rate_mbit)
        environments.append({**config, "workloads": ["tcp", "rr"]})
    factories.write_results(every, folder, environments=environments)
    for place in environments:
        factories.write_figure(folder / str(place["environment"]) / "figures/percentiles-rr.svg")
    if pictures:
        draw(environments, folder)


def draw(environments: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """Draw all figures of a folder of results, as the workflow does."""
    every = [environment_from(each) for each in environments]
    points: list[measurements.Repetition] = []
    cells: list[rows.CellStatistics] = []
    for place in every:
        own = folder / place.id
        seen = measurements.read_csv(own / "measurements.csv", measurements.ANALYSED)
        said = rows.read(rows.CellStatistics, own / "statistics.csv")
        sheets.plot_environment(place, seen, said, own / "host.json", own / "figures")
        points += seen
        cells += said
    told = rows.read(rows.ClaimVerdict, folder / "claims.csv"), None
    sheets.plot_comparison(every, tuple(points), cells, told, folder / "figures")


def main() -> None:
    """Write such results to a folder, to be looked at."""
    folder = Path(sys.argv[1])
    with there():
        results(folder, pictures=True)
        html = page.render(inputs.read(folder / "experiment.json", folder))
    (folder / "report.html").write_text(html, encoding="utf-8")


if __name__ == "__main__":
    main()
