"""What a folder of results holds, from its raw files alone: nothing is written into it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hvcost.analysis import measurements
from hvcost.analysis.samples import Sample, samples
from hvcost.model import description, record
from hvcost.model.description import Description
from hvcost.model.record import Record


@dataclass(frozen=True)
class Measured:
    """One experiment and what was measured of it.

    `firsts`: of each workload in each session the first record, for what all its repetitions share.
    """

    experiment: Description
    table: measurements.Table
    firsts: tuple[Record, ...]

    @property
    def samples(self) -> tuple[Sample, ...]:
        """All cells."""
        return samples(self.table, self.experiment.systems, self.experiment.boots)


def read(folder: Path) -> Measured:
    """What a folder of results holds; ParseError or ConfigError if that is nothing, or damaged."""
    experiment = description.load(folder / "experiment.json")
    firsts: dict[tuple[str, str, int, str], Record] = {}

    def seen() -> Iterator[Record]:
        for each in record.read_all(experiment.all_found_in(folder)):
            firsts.setdefault((each.environment, each.system, each.boot, each.workload), each)
            yield each

    table = measurements.from_records(seen())
    return Measured(experiment, table, tuple(firsts.values()))
