"""Numbers as the page shows them, each with the id of the row that it was rounded from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from hvcost.analysis.metrics import known
from hvcost.analysis.rows import SIGNIFICANT_DIGITS, CellStatistics, Change, ClaimVerdict, PairComparison
from hvcost.model.metric import DIFFERENCE, RATIO, THROUGHPUT
from hvcost.wording import difference_unit, shown_unit

T = TypeVar("T")

DIGITS = 3
# Where numbers lead that are no row's: ids of the page.
CONFIGURATION = "configuration"
PLANNED = "planned"


@dataclass(frozen=True)
class Placed(Generic[T]):
    """A row of a table and the id that it has in the page."""

    row: T
    id: str


Cell = Placed[CellStatistics]
Pair = Placed[PairComparison]
Claim = Placed[ClaimVerdict]
Row = CellStatistics | PairComparison | ClaimVerdict | Change


@dataclass(frozen=True)
class Number:
    """A number as it is shown, and the id in the page of where it has all its digits."""

    text: str
    target: str


def rounded(value: float, digits: int = DIGITS) -> str:
    """So many significant digits, never as a power of ten; whole numbers in full."""
    if abs(value) >= 10**digits - 0.5:
        text = f"{value:.0f}"
    elif 0 < abs(value) < 1e-4:
        text = f"{value:.{digits + 4}f}"
    else:
        text = f"{value:#.{digits}g}".rstrip(".")
    return text.replace("-", "−")


def bracketed(value: float, low: float | None, high: float | None) -> str:
    """A value with its interval, if it has one, in as many digits as tell the interval's ends apart."""
    if low is None or high is None:
        return rounded(value)
    candidates = range(DIGITS, SIGNIFICANT_DIGITS)
    apart = (n for n in candidates if rounded(low, n) != rounded(high, n))
    digits = next(apart, DIGITS)
    return f"{rounded(value, digits)} [{rounded(low, digits)}, {rounded(high, digits)}]"


def mbit(bps: float) -> str:
    """A rate in Mbit/s, without its unit."""
    return rounded(bps / 1e6)


def amount(row: Row, value: float) -> str:
    """A value of a row in the unit that people use, without it."""
    return rounded(value / _size(row)) if value else "0"


def unit(row: Row) -> str:
    """The unit that people use for the values that a row is about."""
    return "Mbit/s" if row.unit == THROUGHPUT.unit else shown_unit(row.unit)


def _size(row: Row) -> float:
    return 1e6 if row.unit == THROUGHPUT.unit else 1.0


def percent(ratio: float) -> str:
    """A ratio in percent."""
    return f"{rounded(100 * ratio)} %"


def margin(ratio: float) -> str:
    """The margin of equivalence in percent."""
    return f"{100 * ratio:g} %"


def p_value(p: float) -> str:
    """A p-value, as far as it means anything."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def margin_of(row: PairComparison) -> str:
    """The margin of equivalence of a comparison."""
    if row.compared == RATIO:
        return margin(row.margin)
    return f"{row.margin / _size(row):g} {difference_unit(unit(row))}"


def effect(row: Row) -> str:
    """A ratio or a difference, as the row's metric is compared, with its interval and its unit."""
    if row.effect is None:
        return "none"
    if row.compared == RATIO:
        return bracketed(row.effect, row.effect_low, row.effect_high)
    return f"{difference(row)} {difference_unit(unit(row))}"


def difference(row: Row, sign: int = 1) -> str:
    """A difference with its interval, without its unit; with a sign of -1 it is b's less a's."""
    ends = [None if end is None else sign * end / _size(row) for end in (row.effect_low, row.effect_high)]
    low, high = ends if sign > 0 else reversed(ends)
    value = sign * (row.effect or 0.0) / _size(row)
    return bracketed(value, low, high) if value or low is not None else "0"


def beside_of(row: CellStatistics) -> str:
    """What `beside` says, for the head of its column."""
    if row.compared == DIFFERENCE:
        return "difference from bare metal"
    return "share of bare metal" if _is_share(row) else "ratio to bare metal"


def beside(row: CellStatistics) -> str:
    """A cell beside bare metal: its share of it, how many times it that is, or its difference from it."""
    value, interval, unit_said = beside_parts(row)
    return " ".join(filter(None, (value, interval, unit_said)))


def beside_parts(row: CellStatistics) -> tuple[str, str, str]:
    """The same in parts: the value, its interval in brackets, and its unit; the latter two may be empty."""
    if row.effect is None:
        return effect(row), "", ""
    if row.compared == DIFFERENCE:
        text, unit_said = difference(row), difference_unit(unit(row))
        sign = "+" if row.effect > 0 else ""
    elif _is_share(row):
        text, unit_said, sign = str(Share(row.effect, row.effect_low, row.effect_high)), "", ""
    else:
        text, unit_said, sign = bracketed(row.effect, row.effect_low, row.effect_high), "", ""
    value, _space, interval = text.partition(" [")
    times = " ×" if row.compared == RATIO and not _is_share(row) else ""
    return f"{sign}{value}{times}", f"[{interval}" if interval else "", unit_said


def _is_share(row: CellStatistics) -> bool:
    """Whether it is a part of what bare metal delivers; of what is better if it is less, times are told."""
    return row.compared == RATIO and known()[row.metric].better == "higher"


@dataclass(frozen=True)
class Share:
    """A ratio in percent, with as many decimals as its interval bears."""

    ratio: float
    low: float | None
    high: float | None

    @property
    def decimals(self) -> int:
        """The fewest with which the ends of the interval can be told from each other."""
        least = 1 if self.ratio < 0.1 else 0
        if self.low is None or self.high is None:
            return least
        low, high = 100 * self.low, 100 * self.high
        return next((n for n in (0, 1, 2) if n >= least and round(low, n) < round(high, n)), 2)

    @property
    def cost(self) -> str:
        """What is missing to the whole."""
        return self._percent(1 - round(self.ratio, self.decimals + 2))

    def __str__(self) -> str:
        text = self._percent(self.ratio)
        if self.low is None or self.high is None:
            return f"{text} %"
        return f"{text} % [{self._percent(self.low)}, {self._percent(self.high)}]"

    def _percent(self, ratio: float) -> str:
        return f"{100 * ratio:.{self.decimals}f}"


def median(cell: Cell) -> Number:
    """A cell's median with its exact interval."""
    row = cell.row
    if row.median is None:
        return Number("none", cell.id)
    if row.median_low is None or row.median_high is None:
        return Number(amount(row, row.median), cell.id)
    size = _size(row)
    return Number(bracketed(row.median / size, row.median_low / size, row.median_high / size), cell.id)


def median_alone(cell: Cell) -> Number:
    """A cell's median without its interval."""
    return Number(amount(cell.row, cell.row.median or 0.0), cell.id)


def runs_at_limit(cell: Cell) -> Number:
    """How many runs the link may have held back."""
    return Number(f"{cell.row.runs_at_limit} of {cell.row.ok}", cell.id)


def allowed(row: ClaimVerdict) -> str:
    """The ratios or differences that a claim allows."""
    least, most = (None if end is None else end / _scale(row) for end in (row.at_least, row.at_most))
    unit_said = "" if row.compared == RATIO else f" {difference_unit(unit(row))}"
    if least is not None and most is not None:
        return f"{least:g} to {most:g}{unit_said}"
    if least is not None:
        return f"{least:g}{unit_said} or more"
    return "any" if most is None else f"{most:g}{unit_said} or less"


def published(row: ClaimVerdict) -> str:
    """The ratio or difference that was published."""
    if row.published is None:
        return "none"
    unit_said = "" if row.compared == RATIO else f" {difference_unit(unit(row))}"
    return f"{row.published / _scale(row):g}{unit_said}"


def _scale(row: ClaimVerdict) -> float:
    """What a claim's range is divided by to be told: a ratio has no unit."""
    return 1.0 if row.compared == RATIO else _size(row)
