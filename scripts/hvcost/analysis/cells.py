"""Rows of statistics.csv: what the values of each cell say by themselves, and beside bare metal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hvcost.analysis.diagnostics import Diagnostics, diagnose
from hvcost.analysis.effects import Effect, effect, shortage
from hvcost.analysis.intervals import Values, median_interval
from hvcost.analysis.rows import CellStatistics
from hvcost.analysis.samples import Sample
from hvcost.model.description import BASELINE
from hvcost.model.metric import Metric

# What is needed of each environment's link: `rate_mbit` and `mtu` (bytes).
Links = Mapping[str, Mapping[str, float]]


def cells(samples: Sequence[Sample], links: Links, seed: int) -> list[CellStatistics]:
    """One row per sample, in their order."""
    baselines = {
        (sample.environment, sample.workload, sample.metric): sample
        for sample in samples
        if sample.hypervisor == BASELINE
    }
    return [
        _cell(sample, _to_baseline(sample, baselines, seed), links, diagnose(sample, seed))
        for sample in samples
    ]


def limit_of(sample: Sample, links: Links) -> float | None:
    """The best that the link of the sample's environment lets its metric be, in its unit; None: no limit."""
    return sample.metric.limit(links[sample.environment])


@dataclass(frozen=True)
class Held:
    """How far the link held a cell back.

    `runs` are at the limit, and might have been faster on another link. If there is none, the values are what
    they would have been on an endless one. `median`: that of the values is at the limit, so the link set it.
    """

    runs: int
    median: bool


def held(sample: Sample, links: Links) -> Held:
    """How far the link held a sample back."""
    values, limit, metric = sample.values, limit_of(sample, links), sample.metric
    return Held(
        runs=sum(metric.is_at_limit(run.value, limit) for run in sample.runs),
        median=len(values) > 0 and metric.is_at_limit(float(np.median(values)), limit),
    )


def _to_baseline(sample: Sample, baselines: Mapping[tuple[str, str, Metric], Sample], seed: int) -> Effect:
    if sample.planned == sample.unavailable:
        return Effect(None, None, None, "not available")
    baseline = baselines.get((sample.environment, sample.workload, sample.metric))
    if baseline is None:
        note = f"bare metal was not measured in {sample.environment}"
        return Effect(None, None, None, "; ".join(filter(None, (shortage(sample), note))))
    if sample is baseline:
        return Effect(sample.metric.no_effect if sample.runs else None, None, None, shortage(sample))
    return effect(sample, baseline, seed)


def _cell(sample: Sample, to_baseline: Effect, links: Links, found: Diagnostics) -> CellStatistics:
    values = sample.values
    n = len(values)
    limit, by_link = limit_of(sample, links), held(sample, links)
    mean = float(values.mean()) if n else None
    middle = float(np.median(values)) if n else None
    deviation = float(values.std(ddof=1)) if n > 1 else None
    around_middle = median_interval(values)
    kept = [run.value for run in sample.runs if run not in found.outliers]
    return CellStatistics(
        environment=sample.environment,
        system=sample.system,
        hypervisor=sample.hypervisor,
        workload=sample.workload,
        metric=sample.metric.name,
        unit=sample.metric.unit,
        compared=sample.metric.compared,
        role=sample.role,
        planned=sample.planned,
        ok=len(sample.runs),
        failed=sample.planned - len(sample.runs) - sample.unavailable,
        unavailable=sample.unavailable,
        sessions=len(sample.sessions),
        host_boots=sample.host_boots,
        guest_boots=sample.guest_boots,
        computers=" ".join(sorted({session.computer for session in sample.sessions})).strip(),
        level=sample.level,
        values=n,
        mean=mean,
        standard_deviation=deviation,
        coefficient_of_variation=deviation / mean if deviation is not None and mean else None,
        median=middle,
        median_low=around_middle.low if around_middle else None,
        median_high=around_middle.high if around_middle else None,
        median_confidence=around_middle.confidence if around_middle else None,
        min=float(values.min()) if n else None,
        max=float(values.max()) if n else None,
        resolution=sample.resolution or None,
        within_sd=_within(sample.by_value),
        between_sd=None if sample.level == "repetition" else deviation,
        effect=to_baseline.value,
        effect_low=to_baseline.interval.low if to_baseline.interval else None,
        effect_high=to_baseline.interval.high if to_baseline.interval else None,
        limit=limit,
        limit_share=middle / limit if middle is not None and limit else None,
        runs_at_limit=by_link.runs,
        at_limit=by_link.median,
        drift_tau=found.drift_tau,
        drift_p=found.drift_p,
        lag1_autocorrelation=found.lag1_autocorrelation,
        lag1_p=found.lag1_p,
        shapiro_w=found.shapiro_w,
        shapiro_p=found.shapiro_p,
        outliers=" ".join(f"{run.session.boot}/{run.repetition}" for run in found.outliers),
        mean_without_outliers=float(np.mean(kept)) if kept else None,
        note=to_baseline.note,
    )


def _within(groups: Sequence[Values]) -> float | None:
    """Standard deviation of repetitions around the mean of their session or boot, pooled over these."""
    freedom = sum(len(group) - 1 for group in groups)
    if not freedom:
        return None
    return float(np.sqrt(sum(float(np.sum((group - group.mean()) ** 2)) for group in groups) / freedom))
