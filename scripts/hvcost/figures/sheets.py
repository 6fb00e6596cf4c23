"""Which figures there are: of one environment, and of what all environments are compared by.

Of an environment: topology, and for every workload that is not swept repetitions-WORKLOAD,
repetitions-with-bare-metal-WORKLOAD and order-WORKLOAD. Where there are percentiles of what is measured, such
as of round-trip times, percentiles-WORKLOAD is in place of the repetitions.

Of all environments, for every workload: means-WORKLOAD, ratios-WORKLOAD and, if there are several
environments, environments-WORKLOAD. What is swept has sweep-ENVIRONMENT-WORKLOAD-OPTION or
sweep-ENVIRONMENT-KEY-WORKLOAD instead. Of what is shown as percentiles there is ratios-WORKLOAD only. Claims
with published values have published-and-repeated.

Those of metrics that are not the primary one have -METRIC at the end. Each is a .svg and a .png.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from pathlib import Path

from hvcost import figures
from hvcost.analysis.measurements import Table
from hvcost.analysis.rows import CellStatistics, ClaimVerdict
from hvcost.figures import (
    Picture,
    means,
    order,
    percentiles,
    published,
    ratios,
    repetitions,
    style,
    sweep,
    topology,
)
from hvcost.figures import environments as side_by_side
from hvcost.files import read_json
from hvcost.model.description import Environment, Study
from hvcost.parallel import results_of

log = logging.getLogger(__name__)

OF_ENVIRONMENT = ("topology", "repetitions-*", "order-*", "percentiles-*")
OF_COMPARISON = ("means-*", "ratios-*", "environments-*", "sweep-*", published.NAME)


def plot_environment(
    environment: Environment, points: Table, cells: Sequence[CellStatistics], host: Path, folder: Path
) -> None:
    """Draw all figures of an environment, then put them in the folder in place of older ones.

    `points`: what is analysed of its table; `host`: its host.json.
    """
    accelerator, facts = _host(host)
    environment = environment.played_by(accelerator)
    subjects = figures.subjects([environment], points)
    if not subjects and not environment.swept_workloads:
        log.warning("%s: no repetitions, so only the topology is drawn", environment.id)
    systems = figures.systems_shown([environment], points)
    drawn = [partial(topology.draw, environment, facts, systems)]
    for subject in subjects:
        drawn.append(partial(order.draw, environment, points, subject))
        if subject.is_percentile:
            continue
        for beside in (False, True):
            drawn.append(partial(repetitions.draw, environment, points, subject, with_bare_metal=beside))
    for distribution in figures.distributions([environment], points):
        drawn.append(partial(percentiles.draw, environment, cells, distribution))
    _draw(drawn, OF_ENVIRONMENT, folder)


def plot_comparison(
    environments: Sequence[Environment],
    points: Table,
    cells: Sequence[CellStatistics],
    told: tuple[Sequence[ClaimVerdict], Study | None],
    folder: Path,
) -> None:
    """Draw all figures of several environments, then put them in the folder in place of older ones.

    `points`: what is analysed of their tables. `told`: what came of the claims, and the study that they are
    from, if they are of one.
    """
    # What is swept has one figure for all of its points.
    others = [environment for environment in environments if not environment.is_swept]
    subjects = figures.subjects(
        others, [point for point in points if point.environment in {each.id for each in others}]
    )
    curves = sweep.all_curves(environments, cells)
    if not subjects and not curves:
        log.warning("no repetitions, so nothing is drawn")
    drawn = []
    for subject in subjects:
        drawn.append(partial(ratios.draw, others, cells, subject))
        if subject.is_percentile:
            continue
        drawn.append(partial(means.draw, others, points, cells, subject))
        if len(others) > 1:
            drawn.append(partial(side_by_side.draw, others, cells, subject))
    drawn += [partial(sweep.draw, environments, cells, curve) for curve in curves]
    claims, study = told
    if repeated := published.shown(claims):
        drawn.append(partial(published.draw, environments, repeated, study))
    _draw(drawn, OF_COMPARISON, folder)


def _draw(pictures: Sequence[Callable[[], Picture]], stems: Sequence[str], folder: Path) -> None:
    """Draw pictures, then put them in the folder in place of older ones of these stems."""
    with style.house_style():
        files = results_of([partial(_rendered, picture) for picture in pictures], f"drawing {folder}")
    figures.replace_files(folder, stems, dict(chain.from_iterable(each.items() for each in files)))
    log.info("%s: %d files", folder, 2 * len(files))


def _rendered(draw: Callable[[], Picture]) -> dict[str, bytes]:
    return style.rendered(draw())


def _host(host: Path) -> tuple[str | None, topology.Facts]:
    """How the host was decided to be played, None if it is none that is played, and its facts."""
    return read_json(
        host,
        "facts of a host",
        lambda data: ((data.get("acceleration") or {}).get("accelerator"), dict(data["facts"])),
    )
