"""Published and repeated: the table of the page and its chart, which name what is not what was published."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import factories
import pytest
from factories import claim_verdict
from hvcost.analysis import rows
from hvcost.analysis.rows import INCONCLUSIVE, NOT_COMPARABLE, REFUTED, SUPPORTED, ClaimVerdict
from hvcost.figures import published, sheets, style
from hvcost.model.description import Study, environment_from
from hvcost.report import inputs, numbers, page, words
from test_figures import assert_readable, points_of, said

STUDY = Study("Barham et al., SOSP 2003, Table 6", "Linux 2.4.21 and Xen of 2003", "UML is left out.")
CLAIMS = (
    claim_verdict(claim="xen-1500", published=1.0, at_least=0.97, at_most=1.03, link_limited=True,
                  effect=0.7, effect_low=0.65, effect_high=0.75, verdict=NOT_COMPARABLE,
                  claim_verdict=NOT_COMPARABLE, system_b="bare-metal", note="the link set both values then"),
    claim_verdict(claim="vmware", published=0.32, at_least=0.27, at_most=0.38, system_a="virtualbox",
                  system_b="bare-metal", effect=0.05, effect_low=0.045, effect_high=0.055,
                  analogue="VirtualBox with PCnet stands for VMware Workstation 3.2"),
    claim_verdict(claim="same", published=2.0, verdict=SUPPORTED, claim_verdict=SUPPORTED, effect=2.0,
                  effect_low=1.9, effect_high=2.1),
    claim_verdict(claim="one-boot", published=2.0, verdict=INCONCLUSIVE, claim_verdict=INCONCLUSIVE,
                  effect=2.0, effect_low=None, effect_high=None, note="2 repetitions, an interval needs 6"),
    claim_verdict(claim="lost", published=2.0, verdict=INCONCLUSIVE, claim_verdict=INCONCLUSIVE, effect=None,
                  effect_low=None, effect_high=None, note="xen in env1 was not measured"),
    claim_verdict(claim="said", published=None),
    claim_verdict(claim="losses", published=0.5, compared="difference", metric="loss", unit="%", at_least=0.0,
                  at_most=1.0, effect=0.4, effect_low=0.3, effect_high=0.5, verdict=SUPPORTED),
)  # fmt: skip
ENVIRONMENTS = (factories.environment_config("bare-metal", "xen", "virtualbox", "qemu"),)


def drawn(claims: Sequence[ClaimVerdict], study: Study | None = STUDY) -> Any:
    with style.house_style():
        return published.draw([environment_from(each) for each in ENVIRONMENTS], claims, study)


def test_the_chart_has_what_was_published_beside_what_came_out() -> None:
    claims = published.shown(CLAIMS)
    assert [row.claim for row in claims] == ["xen-1500", "vmware", "same", "one-boot", "lost"]
    picture = drawn(claims)
    assert_readable(picture)
    text = said(picture).replace("\n", " ")
    for words_of in (
        "xen-1500, published",
        "1 from 0.97 to 1.03",
        "0.70 [0.65, 0.75]: not comparable",
        "0.050 [0.045, 0.055]: refuted",
        "2.00 [1.90, 2.10]: supported",
        "2.00, no interval: inconclusive",
        "xen in env1 was not measured",
        "Barham et al., SOSP 2003, Table 6. It measured Linux 2.4.21 and Xen of 2003; here are systems of ",
        "vmware: VirtualBox with PCnet stands for VMware Workstation 3.2.",
        "(emulated machines)",
    ):
        assert words_of in text, words_of
    assert sorted({x for x, _y in points_of(picture.figure.axes[0])}) == [0.05, 0.32, 0.7, 1.0, 2.0]
    assert "xen-1500, published in tcp, env1: 1 from 0.97 to 1.03." in picture.description


def test_the_chart_needs_no_study_and_no_upper_end() -> None:
    picture = drawn([claim_verdict(published=2.0, at_most=None)], None)
    assert "2 from 1.6" in said(picture)
    assert "It measured" not in said(picture)


def test_a_figure_of_claims_that_are_no_more_is_removed(tmp_path: Path) -> None:
    results(tmp_path, CLAIMS)
    folder = tmp_path / "figures"
    for claims, is_there in ((CLAIMS, True), ((), False)):
        draw(tmp_path, claims)
        assert (folder / f"{published.NAME}.svg").exists() == is_there


@pytest.mark.parametrize(
    ("verdict", "study", "text"),
    [
        (SUPPORTED, STUDY, "supported on today’s systems"),
        (REFUTED, STUDY, "refuted on today’s systems"),
        (INCONCLUSIVE, STUDY, "inconclusive"),
        (NOT_COMPARABLE, STUDY, "not comparable"),
        (SUPPORTED, None, "supported"),
        (SUPPORTED, Study("this year's"), "supported"),
    ],
)
def test_a_verdict_on_old_software_is_one_on_today_s(verdict: str, study: Study | None, text: str) -> None:
    assert words.repeated_verdict(verdict, study) == text


@pytest.mark.parametrize(
    ("changes", "text"),
    [({"published": 0.5}, "0.5"), ({}, "none"), ({"published": 5e6, "compared": "difference"}, "5 Mbit/s")],
)
def test_what_was_published_is_said_in_its_unit(changes: dict[str, Any], text: str) -> None:
    assert numbers.published(claim_verdict(**changes)) == text


def results(folder: Path, claims: Sequence[ClaimVerdict], study: Study | None = STUDY) -> None:
    """Results of an experiment with these claims."""
    means = {"bare-metal": 500e6, "xen": 350e6, "virtualbox": 25e6, "qemu": 100e6}
    factories.write_results(factories.raw_records(means), folder, environments=ENVIRONMENTS, claims=claims)
    if study:
        path = folder / "experiment.json"
        content = json.loads(path.read_text()) | {"study": study.__dict__, "results": "results/barham2003"}
        path.write_text(json.dumps(content))


def draw(folder: Path, claims: Sequence[ClaimVerdict]) -> None:
    every = [environment_from(each) for each in ENVIRONMENTS]
    cells = rows.read(rows.CellStatistics, folder / "env1/statistics.csv")
    sheets.plot_comparison(every, (), cells, (claims, STUDY), folder / "figures")


def rendered(folder: Path) -> str:
    html = page.render(inputs.read(folder / "experiment.json", folder))
    return " ".join(re.sub("<[^>]*>", " ", html[html.index("<body") :]).split())


def test_the_page_has_published_value_range_ours_and_verdict_side_by_side(tmp_path: Path) -> None:
    results(tmp_path, CLAIMS)
    draw(tmp_path, CLAIMS)
    text = rendered(tmp_path)
    assert "Barham et al., SOSP 2003, Table 6. It measured Linux 2.4.21 and Xen of 2003." in text
    assert "UML is left out." in text
    for row in (
        "xen-1500 Xen in env1 bare metal in env1 tcp throughput 1 0.97 to 1.03 0.700 [0.650, 0.750] "
        "not comparable the link set both values then",
        "vmware VirtualBox in env1 bare metal in env1 tcp throughput 0.32 0.27 to 0.38 "
        "0.0500 [0.0450, 0.0550] refuted on today’s systems an analogue: VirtualBox with PCnet stands for "
        "VMware Workstation 3.2; the whole interval lies outside of the allowed range",
        "said Xen in env1 QEMU in env1 tcp throughput none 1.6 to 2.4",
    ):
        assert row in text, row
    assert "same: supported on today’s systems" in text
    assert "python scripts/reanalyse.py results/barham2003" in text
    html = (tmp_path / "figures/published-and-repeated.svg").read_text()
    assert "<desc>xen-1500, published" in html


def test_claims_of_which_no_value_was_published_have_no_such_section(tmp_path: Path) -> None:
    results(tmp_path, (claim_verdict(),), None)
    text = rendered(tmp_path)
    assert "Published and repeated" not in text


def test_rows_of_claims_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "claims.csv"
    rows.write(ClaimVerdict, CLAIMS, path)
    assert rows.read(ClaimVerdict, path) == CLAIMS
    assert replace(CLAIMS[0], link_limited=False) not in rows.read(ClaimVerdict, path)
