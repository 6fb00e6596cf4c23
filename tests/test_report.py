"""What the report says of every kind of result, and that the page keeps its promises to who reads it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import factories
import make_report
import pytest
from hvcost.analysis.rows import (
    DIFFERENT,
    EQUIVALENT,
    INCONCLUSIVE,
    LAG1_FOUND,
    SUPPORTED,
    WITHIN_MARGIN,
    PairComparison,
)
from hvcost.errors import HvcostError
from hvcost.model.description import Environment, environment_from
from hvcost.model.metric import HOST_CPU, THROUGHPUT
from hvcost.model.record import Record
from hvcost.report import costs, inputs, limits, numbers, page, trust, words
from hvcost.report.inputs import Place, Table
from hvcost.report.numbers import Cell, Number, Pair, Placed
from hvcost.report.sections import Group

HOSTILE = "<script>alert('x')</script> & \"{{ 7 * 7 }}\" {reason}"
STUDY = {"bare-metal": 567e6, "xen": 150e6, "virtualbox": 60e6, "qemu": 41e6, "kvm": 184e6}
HELD = {"bare-metal": 94.1e6, "xen": 94.0e6, "virtualbox": 50e6, "qemu": 17.6e6, "kvm": 80e6}


def cell(**changes: Any) -> Cell:
    return Placed(factories.cell_statistics(**changes), f"statistics-env1-{changes.get('system', 'kvm')}")


def bare_metal(**changes: Any) -> Cell:
    given = {
        "system": "bare-metal",
        "mean": 567e6,
        "median": 567e6,
        "effect": 1.0,
        "effect_low": None,
        "effect_high": None,
        "limit_share": 0.602,
    }
    return cell(**given | changes)


def nothing(**changes: Any) -> Cell:
    """A cell of which every repetition failed."""
    of_values = ("mean", "median", "median_low", "median_high", "median_confidence")
    others = ("effect", "effect_low", "effect_high", "limit_share", "drift_p", "drift_tau", "lag1_p")
    empty = dict.fromkeys((*of_values, *others, "lag1_autocorrelation", "shapiro_w", "shapiro_p"))
    return cell(**empty | {"ok": 0, "failed": 10, "values": 0, "note": "kvm: no values"} | changes)


def said(cell: Cell, baseline: Cell | None = None) -> str:
    return words.plain(costs.answer(cell, baseline))


def environment(**changes: Any) -> Environment:
    return environment_from(factories.environment_config("bare-metal", "kvm", **changes))


# Sentences


def test_a_cost_is_the_share_that_is_missing() -> None:
    row = cell(effect=0.3245, effect_low=0.3141, effect_high=0.3349, mean=184e6)
    assert said(row, bare_metal()) == (
        "KVM costs 68 %: it delivers 32 % [31, 33] of bare metal’s TCP throughput, 184 of 567 Mbit/s."
    )


def test_every_number_of_an_answer_leads_to_its_own_row() -> None:
    answer = costs.answer(cell(), bare_metal())
    numbers = {part.text: part.target for part in answer if isinstance(part, Number)}
    assert numbers["184"] == "statistics-env1-kvm"
    assert numbers["567"] == "statistics-env1-bare-metal"
    assert not any(char.isdigit() for part in answer if isinstance(part, str) for char in part)


def test_bare_metal_is_what_the_others_are_compared_with() -> None:
    assert said(bare_metal(), bare_metal()) == "Bare metal, with no hypervisor at all, reaches 567 Mbit/s."


def test_what_the_link_set_on_both_sides_is_no_cost() -> None:
    held = cell(
        runs_at_limit=10,
        at_limit=True,
        median=93.9e6,
        limit=94.1e6,
        effect=0.999,
        effect_low=0.99,
        effect_high=1.0,
    )
    sentence = said(held, bare_metal(runs_at_limit=10, at_limit=True, median=94e6))
    assert sentence == (
        "KVM: this link cannot show its cost. Its median is 93.9 Mbit/s, that of bare metal 94.0, "
        "and the link carries no more than 94.1."
    )


def test_against_a_bare_metal_that_the_link_held_back_a_cost_is_a_lower_bound() -> None:
    row = cell(effect=0.92, effect_low=0.91, effect_high=0.93)
    assert said(row, bare_metal(runs_at_limit=10, at_limit=True)).startswith(
        "KVM costs 8 % or more: it delivers 92 % [91, 93]"
    )


def test_some_runs_at_the_limit_make_a_bound_and_are_counted() -> None:
    some, share = {"runs_at_limit": 3}, {"effect": 0.92, "effect_low": 0.91, "effect_high": 0.93}
    assert said(cell(**share), bare_metal(**some)).startswith("KVM costs 8 % or more: it delivers")
    assert said(cell(**share, **some), bare_metal()).startswith("KVM costs 8 % or less: it delivers")
    faster = {"effect": 1.04, "effect_low": 1.02, "effect_high": 1.06}
    assert said(cell(**faster), bare_metal(**some)).startswith("KVM shows no cost over this link: it")
    assert said(cell(**share, **some), bare_metal(runs_at_limit=2)).endswith(
        "carries no more than 941: 3 of 10 of its runs came near that, and 2 of 10 of bare metal’s."
    )


@pytest.mark.parametrize(
    ("ratio", "low", "high", "beginning"),
    [
        (0.99, 0.97, 1.01, "KVM shows no cost that could be told from chance: it delivers 99 % [97, 101]"),
        (1.04, 1.02, 1.06, "KVM costs nothing here: it delivers 104 % [102, 106]"),
        (0.5, None, None, "KVM costs about 50 %: it delivers 50 % of"),
        (1.1, None, None, "KVM shows no cost: it delivers 110 % of"),
    ],
)
def test_no_cost_is_claimed_that_the_interval_does_not_show(
    ratio: float, low: float | None, high: float | None, beginning: str
) -> None:
    assert said(cell(effect=ratio, effect_low=low, effect_high=high), bare_metal()).startswith(beginning)


def test_where_there_is_no_interval_the_reason_is_said() -> None:
    row = cell(effect=0.5, effect_low=None, effect_high=None, note="kvm in env1: 3 repetitions with a value")
    assert said(row, bare_metal()).endswith("(no interval: kvm in env1: 3 repetitions with a value).")


def test_without_bare_metal_medians_are_said_instead_of_shares() -> None:
    row = cell(effect=None, effect_low=None, effect_high=None, note="bare metal was not measured in env1")
    assert said(row) == "KVM reaches a median of 185 [180, 188] Mbit/s."


def test_a_median_without_an_interval_says_why() -> None:
    row = cell(effect=None, median_low=None, median_high=None, note="3 repetitions with a value")
    assert said(row).endswith("a median of 185 Mbit/s (no interval: 3 repetitions with a value).")


def test_failed_repetitions_are_said_beside_the_cost() -> None:
    assert said(cell(ok=8, failed=2), bare_metal()).endswith("Mbit/s. 2 of 10 repetitions failed.")
    assert said(nothing(), bare_metal()) == "KVM: there is no figure. 10 of 10 repetitions failed."


def test_a_bare_metal_without_a_figure_is_no_baseline() -> None:
    assert costs.baseline([nothing(system="bare-metal"), cell()]) is None
    assert costs.baseline([cell(), bare_metal()]) == bare_metal()


def test_answers_begin_with_bare_metal_and_the_cheapest_and_end_with_what_failed() -> None:
    cells = [nothing(system="xen"), cell(system="qemu", mean=4e7), cell(mean=1e8), bare_metal()]
    assert [each.row.system for each in costs.by_cost(cells)] == ["bare-metal", "kvm", "qemu", "xen"]


CPU = {
    "metric": "host_cpu",
    "unit": "s/Gbit",
    "role": "secondary",
    "limit": None,
    "limit_share": None,
    "runs_at_limit": 0,
}


def spent(mean: float, **changes: Any) -> Cell:
    """A cell of the host's processor time."""
    return cell(**CPU | {"mean": mean, "median": mean, "median_low": None, "median_high": None} | changes)


BARE_SPENT = {"system": "bare-metal", "effect": 1.0, "effect_low": None, "effect_high": None}


@pytest.mark.parametrize("held", [{}, {"runs_at_limit": 10, "at_limit": True}])
def test_each_system_is_told_by_the_host_s_processor_time_too(held: dict[str, Any]) -> None:
    own = spent(17.4, effect=2.73, effect_low=2.52, effect_high=3.06)
    reference, seen = bare_metal(**held), cell(**held)
    place = Place(
        environment(), Table("statistics-env1", "env1/statistics.csv", (), (), ()), (), None, (), {}
    )
    groups = (
        Group("tcp", THROUGHPUT, (reference, seen)),
        Group("tcp", HOST_CPU, (spent(6.4, **BARE_SPENT), own)),
    )
    answer = page.Answer(place, groups)
    assert [words.plain(each) for each in answer.says(seen)] == [
        said(seen, reference),
        "Host processor time: 2.73 [2.52, 3.06] times bare metal’s, 17.4 s/Gbit.",
    ]
    assert words.plain(answer.says(reference)[1]) == "Host processor time: 6.40 s/Gbit."


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"effect_low": 0.9, "effect_high": 3.0},
            "Host processor time: 2.73 [0.900, 3.00] times bare metal’s (not told from chance), 17.4 s/Gbit.",
        ),
        (
            {"effect_low": None, "effect_high": None},
            "Host processor time: 2.73 times bare metal’s (no interval), 17.4 s/Gbit.",
        ),
        ({"effect": None}, "Host processor time: 17.4 s/Gbit."),
        ({"mean": None, "ok": 0, "unavailable": 10}, ""),
        (
            {"mean": None, "ok": 0, "failed": 10},
            "Host processor time: there is no figure. 10 of 10 repetitions of workload tcp failed.",
        ),
    ],
)
def test_another_metric_is_told_in_short(changes: dict[str, Any], text: str) -> None:
    given = {**CPU, "mean": 17.4, "effect": 2.73, "effect_low": 2.52, "effect_high": 3.06}
    own = cell(**given | changes)
    assert words.plain(costs.further(own, spent(6.4, **BARE_SPENT), is_named=True)) == text


def test_another_throughput_is_told_in_short() -> None:
    half = cell(effect=0.5, effect_low=0.4, effect_high=0.6)
    assert words.plain(costs.further(half, bare_metal())) == (
        "TCP throughput: 50 % [40, 60] of bare metal’s, 184 Mbit/s."
    )
    held = {"runs_at_limit": 10, "at_limit": True}
    text = words.plain(costs.further(half, bare_metal(**held)))
    assert text == "TCP throughput: at most 50 % [40, 60] of bare metal’s, 184 Mbit/s."
    text = words.plain(costs.further(cell(**held), bare_metal(**held)))
    assert text == "TCP throughput: this link cannot show the cost, 184 Mbit/s."


@pytest.mark.parametrize(
    ("low", "high", "said_of_it"),
    [
        (1.2, 1.6, "KVM takes 1.40 [1.20, 1.60] times bare metal’s host processor time, 1.40 against 1.00"),
        (0.9, 1.6, "KVM takes 1.40 [0.900, 1.60] times, which could not be told from chance, bare metal’s"),
        (None, None, "KVM takes about 1.40 times bare metal’s"),
    ],
)
def test_of_a_metric_of_which_less_is_better_times_are_told(
    low: float | None, high: float | None, said_of_it: str
) -> None:
    own = spent(1.4, role="primary", effect=1.4, effect_low=low, effect_high=high)
    assert said(own, spent(1.0, role="primary", system="bare-metal", effect=1.0)).startswith(said_of_it)


def test_answers_begin_with_the_cheapest_where_less_is_better() -> None:
    cells = [spent(9.0, system="qemu"), spent(3.0), spent(1.0, system="bare-metal"), spent(2.0, system="xen")]
    assert [each.row.system for each in costs.by_cost(cells)] == ["bare-metal", "xen", "kvm", "qemu"]


def test_a_link_that_sets_no_limit_to_a_metric_is_said_to() -> None:
    said_of_it = words.plain(limits.limit(environment(), [spent(1.0)]))
    assert said_of_it == "The link of env1 sets no limit to host processor time."


def test_variants_keep_their_names() -> None:
    assert said(cell(system="kvm-e1000"), bare_metal()).startswith("kvm-e1000 costs 80 %")


@pytest.mark.parametrize(
    ("share", "text", "cost"),
    [
        (numbers.Share(0.3312, 0.3141, 0.3489), "33 % [31, 35]", "67"),
        (numbers.Share(0.0728, 0.0711, 0.0742), "7.3 % [7.1, 7.4]", "92.7"),
        (numbers.Share(0.5321, 0.5311, 0.5334), "53.2 % [53.1, 53.3]", "46.8"),
        (numbers.Share(0.99555, 0.99554, 0.99556), "99.56 % [99.55, 99.56]", "0.44"),
        (numbers.Share(0.5, 0.5, 0.5), "50.00 % [50.00, 50.00]", "50.00"),
        (numbers.Share(0.5, None, None), "50 %", "50"),
    ],
)
def test_a_share_has_as_many_digits_as_its_interval_bears(share: numbers.Share, text: str, cost: str) -> None:
    assert (str(share), share.cost) == (text, cost)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0.00"),
        (44, "44.0"),
        (567.4, "567"),
        (999.6, "1000"),
        (12345.6, "12346"),
        (0.01234, "0.0123"),
        (0.0000123, "0.0000123"),
        (-0.5, "−0.500"),
    ],
)
def test_numbers_have_three_digits_and_no_exponent(value: float, text: str) -> None:
    assert numbers.rounded(value) == text


def test_the_ends_of_an_interval_are_told_apart() -> None:
    assert numbers.bracketed(1.0016, 0.999851, 1.00336) == "1.002 [0.9999, 1.003]"
    assert numbers.bracketed(2.0, 2.0, 2.0) == "2.00 [2.00, 2.00]"
    assert numbers.bracketed(2.0, None, None) == "2.00"


def test_the_link_is_named_where_bare_metal_reached_it() -> None:
    cells = [bare_metal(runs_at_limit=10, at_limit=True, median=94e6, limit_share=0.999), cell()]
    assert words.plain(limits.limit(environment(rate_mbit=100), cells)) == (
        "The link of env1 runs at 100 Mbit/s and carries at most 94.1 Mbit/s of TCP: of the 1538 bytes that "
        "a full packet takes of it, 1448 are data. Bare metal reached a median of 94.0, so hypervisors that "
        "come near cannot be told apart by this link, and every cost there is a lower bound."
    )


@pytest.mark.parametrize(
    ("cells", "end"),
    [
        (
            [bare_metal(), cell()],
            "Bare metal reached a median of 567, 60 % of that: the machines set",
        ),
        (
            [bare_metal(limit_share=2.02, runs_at_limit=10, at_limit=True), cell()],
            "Warning: Bare metal reached 202 % of that, which cannot be. This link’s rate is not what the",
        ),
        (
            [cell(runs_at_limit=10, at_limit=True), cell(system="xen")],
            "KVM came near it: there, this link cannot tell systems",
        ),
        (
            [bare_metal(runs_at_limit=3), cell()],
            "median of 567, but 3 of 10 runs came near all of it: the link",
        ),
        ([bare_metal(), cell(runs_at_limit=3)], "not the link. KVM came near it all the same."),
        ([cell()], "No system came near it."),
        ([], "No system came near it."),
    ],
)
def test_what_came_near_the_limit_is_named(cells: list[Cell], end: str) -> None:
    assert end in words.plain(limits.limit(environment(), cells))


def test_emulated_machines_are_never_passed_off_as_hardware() -> None:
    assert "not the speed of hardware" in limits.caveat(environment())
    assert limits.caveat(environment(connection="ssh")) == ""
    assert "one computer" in limits.caveat(environment(connection="local"))


def test_it_is_said_who_played_a_host_and_why() -> None:
    known = environment()
    played = limits.played(known, {"tcg": ["kvm boot 1"]}, "/dev/kvm is missing")
    assert played == "The host was played by QEMU’s translator: /dev/kvm is missing."
    assert limits.played(known, {"kvm": ["kvm boot 1"]}, "").endswith("by KVM with nested virtualisation.")
    assert limits.played(known, {}, "") == ""
    assert "paths under translation" in limits.caveat(known.played_by("tcg"))
    assert "paths under nested virtualisation" in limits.caveat(known.played_by("kvm"))


def played_by(accelerator: str, *systems: str) -> list[Record]:
    """Repetitions of systems whose host was played by an accelerator, which was found by the tool."""
    emulator = {"qemu_version": "10.0.13", "accelerator": accelerator, "accelerator_reason": "as it was seen"}
    made = factories.raw_records({system: STUDY[system] for system in systems})
    return [
        replace(
            each,
            spec={**each.spec, "host": {"connection": "emulated", "accelerator": "auto"}},
            facts={**each.facts, "emulator": emulator},
        )
        for each in made
    ]


def test_the_page_says_who_played_the_host(tmp_path: Path) -> None:
    records = played_by("kvm", "bare-metal", "kvm")
    factories.write_results(
        records, tmp_path, environments=[factories.environment_config("bare-metal", "kvm")]
    )
    html = rendered(tmp_path)
    assert "The host was played by KVM with nested virtualisation: as it was seen." in html
    assert "paths under nested virtualisation" in html
    assert "not played in the same way" not in html


def test_the_page_warns_of_sessions_that_were_played_in_different_ways(tmp_path: Path) -> None:
    records = played_by("tcg", "bare-metal") + played_by("kvm", "kvm")
    factories.write_results(
        records, tmp_path, environments=[factories.environment_config("bare-metal", "kvm")]
    )
    warning = (
        "Warning: the host of env1 was not played in the same way in all sessions: tcg in bare-metal boot 1; "
        "kvm in kvm boot 1."
    )
    assert rendered(tmp_path).count(warning) == 2


def certainty(*cells: Cell) -> str:
    return " ".join(words.plain(sentence) for sentence in trust.certainty(cells))


SESSIONS = {"level": "session", "sessions": 10, "host_boots": 1, "guest_boots": 10}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {},
            "A value is a repetition, and all of a system’s are of one session: the intervals speak of this "
            "one boot, and another may well give other figures.",
        ),
        (
            {"level": "boot", "sessions": 10, "host_boots": 10, "guest_boots": 10},
            "A value is the mean of all repetitions in one boot of the host, since these are no independent "
            "witnesses of other boots.",
        ),
        (
            SESSIONS,
            "A value is the mean of a session, and all sessions were in one boot of the host: the intervals "
            "speak of this boot alone.",
        ),
        (
            SESSIONS | {"host_boots": 2},
            "A value is the mean of a session, and all sessions were in 2 boots of the host: the intervals "
            "speak of these boots alone.",
        ),
        (
            SESSIONS | {"host_boots": None},
            "A value is the mean of a session, and all sessions were in boots of the host that are not "
            "known: the intervals speak of these boots alone.",
        ),
        (
            SESSIONS | {"guest_boots": 1},
            "A value is the mean of a session, and all sessions were in one boot of the host and one boot of "
            "the guest: the intervals speak of these boots alone.",
        ),
        (
            SESSIONS | {"host_boots": None, "guest_boots": 3},
            "A value is the mean of a session, and all sessions were in boots of the host that are not known "
            "and 3 boots of the guest: the intervals speak of these boots alone.",
        ),
    ],
)
def test_what_a_value_is_and_what_the_intervals_speak_of_is_said_in_one_sentence(
    changes: dict[str, Any], text: str
) -> None:
    assert certainty(cell(**changes)).startswith(text)


def test_what_differs_between_systems_is_said_of_each() -> None:
    text = certainty(
        cell(**SESSIONS | {"guest_boots": None, "system": "bare-metal"}),
        cell(**SESSIONS),
        cell(**SESSIONS | {"host_boots": 2, "system": "xen"}),
    )
    assert text.startswith(
        "Bare metal in env1 and KVM in env1: a value is the mean of a session, and all sessions were in one "
        "boot of the host: the intervals speak of this boot alone. Xen in env1: a value is"
    )


def test_how_sure_it_is_names_what_weakens_it() -> None:
    text = certainty(
        cell(),
        cell(system="xen", ok=3, failed=7, values=3),
        cell(system="qemu", drift_p=0.01),
    )
    assert "7 of 30 repetitions failed" in text
    assert "Xen in env1 has the fewest values: 3." in text
    assert "too narrow for QEMU in env1" in text


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {},
            "What happens in one run of ten is missing from 10 runs in 35 % of the experiments, and then no",
        ),
        ({"values": 6}, "missing from 6 runs in 53 % of the experiments"),
        ({"values": 30}, "missing from 30 runs in 4.2 % of the experiments"),
        (SESSIONS, "What happens in one session of ten is missing from 10 sessions in 35 %"),
        ({"values": 29}, "correlated by 0.6, 10 values show it in about"),
    ],
)
def test_what_few_values_cannot_know_is_said(changes: dict[str, Any], text: str) -> None:
    assert text in certainty(cell(**changes), cell(system="xen", values=40))


def test_what_the_flag_sees_is_what_the_simulations_found() -> None:
    page = (Path(__file__).parents[1] / "docs/simulations.md").read_text()
    (line,) = re.findall(r"^\| 0\.6 \| (.*) \|$", page, re.MULTILINE)
    found = [float(share.rstrip("%")) / 100 for share in line.split(" | ")]
    assert found == pytest.approx([LAG1_FOUND[size] for size in (6, 10, 30)], abs=0.006)


def test_nothing_measured_leaves_nothing_to_be_sure_of() -> None:
    assert "10 of 10 repetitions failed" in certainty(nothing())


@pytest.mark.parametrize(
    ("changes", "words_of_flags"),
    [
        ({}, []),
        ({"drift_p": 0.01, "drift_tau": 0.6}, ["drift upwards"]),
        ({"drift_p": 0.01, "drift_tau": -0.6}, ["drift downwards"]),
        ({"lag1_autocorrelation": 0.43, "lag1_p": 0.03}, ["dependent"]),
        ({"lag1_autocorrelation": -0.63, "lag1_p": 0.03}, ["alternating"]),
        ({"lag1_autocorrelation": 0.63, "lag1_p": 0.06}, []),
        ({"outliers": "1/3 1/7"}, ["outliers: 2"]),
        ({"shapiro_p": 0.049}, ["not normal"]),
        ({"drift_p": None, "lag1_p": None, "shapiro_p": None}, []),
    ],
)
def test_flags_say_what_the_diagnostics_found(changes: dict[str, Any], words_of_flags: list[str]) -> None:
    flagged = cell(**changes)
    assert [flag.word + flag.detail for flag in trust.flags(flagged)] == words_of_flags
    assert len(trust.meanings([flagged])) == len(words_of_flags)


def test_flags_that_chance_alone_would_raise_are_counted() -> None:
    assert trust.chance([cell(), cell()]).startswith("6 tests at a level of 0.05: about 0.3 of these flags")


def test_the_confidence_of_medians_is_said_once() -> None:
    assert trust.confidence([cell(), cell()]) == "Its confidence is 97.9 %."
    assert trust.confidence([cell(), cell(median_confidence=0.96)]) == "Its confidence is 96.0 to 97.9 %."
    assert trust.confidence([nothing()]) == ""


def pair(**changes: Any) -> Pair:
    made = PairComparison(
        family="within env1, tcp",
        workload="tcp",
        metric="throughput",
        unit="bit/s",
        compared="ratio",
        role="primary",
        environment_a="env1",
        system_a="kvm",
        environment_b="env1",
        system_b="kvm-again",
        same=True,
        values_a=10,
        values_b=10,
        effect=1.002,
        effect_low=0.99,
        effect_high=1.01,
        difference_p=0.7,
        difference_p_holm=0.7,
        margin=0.05,
        equivalence_p=0.001,
        equivalence_p_holm=0.001,
        mann_whitney_u=55.0,
        mann_whitney_p=0.7,
        cliffs_delta=0.1,
        runs_at_limit_a=0,
        runs_at_limit_b=0,
        at_limit_a=False,
        at_limit_b=False,
        verdict=EQUIVALENT,
        note="",
    )
    return Placed(replace(made, **changes), "comparisons-1")


def test_one_system_under_two_names_must_not_differ() -> None:
    assert words.plain(words.same_system(pair())) == (
        "kvm and kvm-again in env1: no difference, as it must be, ratio 1.00 [0.990, 1.01]."
    )
    unsure = words.plain(words.same_system(pair(verdict=INCONCLUSIVE)))
    assert "no difference found" in unsure
    assert "do not show either that there is none (inconclusive)" in unsure
    for verdict in (DIFFERENT, WITHIN_MARGIN):
        warning = words.plain(words.same_system(pair(verdict=verdict)))
        assert warning.startswith("Warning: kvm and kvm-again in env1 are one system under two names.")


def test_sides_name_environments_where_they_differ() -> None:
    assert words.sides(pair(system_b="xen").row) == ("KVM", "Xen")
    assert words.sides(pair(environment_b="env2").row) == ("KVM in env1", "kvm-again in env2")


@pytest.mark.parametrize(
    ("bounds", "text"),
    [
        ((1.6, 2.4), "1.6 to 2.4"),
        ((0.95, None), "0.95 or more"),
        ((None, 2), "2 or less"),
        ((None, None), "any"),
    ],
)
def test_what_a_claim_allows(bounds: tuple[float | None, float | None], text: str) -> None:
    assert numbers.allowed(factories.claim_verdict(at_least=bounds[0], at_most=bounds[1])) == text


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "the whole interval lies outside of the allowed range"),
        ({"verdict": SUPPORTED}, "the whole interval lies in the allowed range"),
        ({"verdict": INCONCLUSIVE}, "the interval lies on both sides of an end of the allowed range"),
        (
            {"verdict": INCONCLUSIVE, "bound": "both", "note": "the link set both"},
            "the link leaves the interval open; the link set both",
        ),
        (
            {
                "verdict": INCONCLUSIVE,
                "effect_low": None,
                "effect_high": None,
                "note": "xen was not measured",
            },
            "there is no interval; xen was not measured",
        ),
    ],
)
def test_why_a_comparison_of_a_claim_has_its_verdict(changes: dict[str, Any], text: str) -> None:
    assert words.reason(factories.claim_verdict(**changes)) == text


# The page


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    text: str = ""


@dataclass
class Page(HTMLParser):
    """Elements of a page in their order, each with the text that is directly in it."""

    elements: list[Element] = field(default_factory=list)
    text: str = ""

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        if self.elements and self.elements[-1].tag != "style":
            self.elements[-1].text += data
            self.text = f"{self.text} {data}"

    @property
    def said(self) -> str:
        """Its text on one line."""
        return " ".join(self.text.split())

    def each(self, tag: str, name: str = "") -> Iterator[Element]:
        """Elements of this tag that have this attribute."""
        return (e for e in self.elements if e.tag == tag and (not name or name in e.attributes))


def parsed(html: str) -> Page:
    found = Page()
    found.feed(html)
    return found


ENVIRONMENTS = (
    factories.environment_config(*STUDY, "nspawn", id="env1"),
    factories.environment_config(*HELD, id="env2", rate_mbit=100),
)
CLAIMS = (
    factories.claim_verdict(),
    factories.claim_verdict(environment_a="env2", environment_b="env2", text=HOSTILE, claim="C3"),
)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two environments with all that can be in them: failures, a link's limit, a system not measured."""
    folder = tmp_path_factory.mktemp("results")
    records = factories.raw_records(STUDY, failed={("virtualbox", 3)})
    records += factories.raw_records(HELD, environment="env2")
    hostile = {"environment": "env2", "system": "kvm", "repetition": 10}
    records = [
        factories.failed_record(HOSTILE, **hostile)
        if (each.environment, each.system, each.repetition) == ("env2", "kvm", 10)
        else each
        for each in records
    ]
    environments = [dict(each) for each in ENVIRONMENTS]
    environments[1]["description"] = HOSTILE
    factories.write_results(records, folder, environments=environments, claims=CLAIMS)
    return folder


@pytest.fixture(scope="module")
def html(results: Path) -> str:
    return rendered(results)


@pytest.fixture(scope="module")
def made(html: str) -> Page:
    return parsed(html)


def rendered(folder: Path) -> str:
    return page.render(inputs.read(folder / "experiment.json", folder))


def test_every_link_within_the_page_has_a_target_and_every_id_is_there_once(made: Page) -> None:
    ids = [element.attributes["id"] for element in made.elements if "id" in element.attributes]
    assert len(ids) == len(set(ids))
    targets = {e.attributes["href"][1:] for e in made.each("a") if e.attributes["href"].startswith("#")}
    labels = {e.attributes["aria-labelledby"] for e in made.elements if "aria-labelledby" in e.attributes}
    assert targets | labels <= set(ids)


def test_links_to_files_lead_to_files_beside_the_page(made: Page, results: Path) -> None:
    urls = {e.attributes["href"] for e in made.each("a") if not e.attributes["href"].startswith("#")}
    assert {"env1/statistics.csv", "env2/measurements.csv", "comparisons.csv", "claims.csv"} <= urls
    assert [url for url in urls if not (results / url).is_file()] == []


def test_every_number_of_a_table_leads_to_the_row_that_has_it(made: Page) -> None:
    numbers = [e for e in made.each("a") if e.attributes.get("class") == "number"]
    assert len(numbers) > 200
    rows = {e.attributes["id"] for e in made.each("tr", "id")}
    assert {f"statistics-env2-{n}" for n in range(1, 6)} | {"comparisons-1", "claims-2"} <= rows


def test_the_rows_of_the_data_are_those_of_the_files(made: Page, results: Path) -> None:
    written = (results / "comparisons.csv").read_text(encoding="utf-8").splitlines()
    assert written[0].split(",")[-1] == "note"
    assert len([e for e in made.each("tr", "id") if "comparisons" in e.attributes["id"]]) == len(written) - 1


def test_nothing_is_fetched_and_nothing_runs(html: str, made: Page) -> None:
    assert not {"script", "iframe", "object", "embed", "audio", "video", "form"} & {
        element.tag for element in made.elements
    }
    sources = [e.attributes["src"] for e in made.elements if "src" in e.attributes]
    assert len(sources) == 8
    assert all(source.startswith("data:image/svg+xml;base64,") for source in sources)
    assert [e.attributes["href"] for e in made.each("link")] == ["data:,"]
    assert "url(" not in html and "@import" not in html
    assert "http://" not in html and "https://" not in html


def test_texts_of_others_stay_texts(html: str, made: Page) -> None:
    assert "<script" not in html
    assert made.said.count(HOSTILE.partition(">")[0]) == html.count("&lt;script") > 3
    assert "49" not in html.partition("&lt;script")[2][:80]


def test_the_page_is_the_same_wherever_it_is_made(results: Path, html: str, tmp_path: Path) -> None:
    shutil.copytree(results, tmp_path / "elsewhere")
    assert rendered(tmp_path / "elsewhere") == html
    assert str(results) not in html


def test_no_computer_is_named(tmp_path: Path) -> None:
    html = with_facts(tmp_path, controller={"hostname": "somebodys-laptop", "kernel": "6.12"})
    assert "6.12" in html
    assert "somebodys-laptop" not in html


def test_the_page_is_built_for_every_reader(made: Page) -> None:
    assert len(list(made.each("h1"))) == 1
    assert next(made.each("html")).attributes["lang"] == "en"
    assert next(made.each("a")).attributes["href"] == "#answer"
    assert all(element.attributes["alt"] for element in made.each("img"))
    assert all(element.attributes["scope"] for element in made.each("th"))
    assert len(list(made.each("table"))) == len(list(made.each("caption")))
    regions = [e for e in made.each("div") if e.attributes.get("class") == "scroll"]
    assert all(e.attributes["tabindex"] == "0" and e.attributes["aria-label"] for e in regions)


def test_the_answer_comes_first(made: Page) -> None:
    text = made.said
    assert text.index("KVM costs") < text.index("What limits it") < text.index("Systems of env1 beside")
    assert text.index("Systems of env1 beside") < text.index("How sure is this")
    assert text.index("How sure is this") < text.index("TCP throughput in env1")


def test_what_was_not_measured_is_named(made: Page) -> None:
    assert "System container (nspawn) was planned, but not measured" in made.said
    assert "10 : boot 1 not measured" in made.said


def test_every_reason_of_a_failure_is_there_with_its_place(made: Page) -> None:
    assert "the guest was not ready after 300 s virtualbox boot 1, tcp 3" in made.said
    assert "kvm boot 1, tcp 10" in made.said


def test_the_versions_that_measured_are_named_or_said_to_be_unknown(results: Path, tmp_path: Path) -> None:
    assert "The commit of some sessions is not recorded" in parsed(rendered(results)).said
    measured = with_facts(tmp_path, software={"commit": "0123abc-dirty", "python_version": "3.11.2"})
    assert "git checkout 0123abc\n" in measured
    assert "Files were edited since commit 0123abc" in measured


def with_facts(folder: Path, **facts: Any) -> str:
    records = [replace(each, facts=facts) for each in factories.raw_records({"kvm": 1e8}, repetitions=3)]
    environments = [factories.environment_config("kvm")]
    factories.write_results(records, folder, environments=environments)
    return rendered(folder)


def test_without_claims_the_study_is_not_mentioned(tmp_path: Path) -> None:
    html = with_facts(tmp_path)
    assert "study of 2010" not in html
    assert "What was claimed" not in html


def test_without_bare_metal_the_page_says_so_and_shows_medians(tmp_path: Path) -> None:
    text = parsed(with_facts(tmp_path)).said
    assert "There is no figure of bare metal here" in text
    assert "KVM reaches a median of" in text


def test_a_system_that_differs_from_itself_is_warned_of_first(tmp_path: Path) -> None:
    records = factories.raw_records({"kvm": 1e8, "kvm-again": 2e8})
    environments = [factories.environment_config("kvm", "kvm-again")]
    twins = {frozenset(("kvm", "kvm-again"))}
    factories.write_results(records, tmp_path, environments=environments, same=twins)
    text = parsed(rendered(tmp_path)).said
    assert text.index("Warning: kvm and kvm-again in env1") < text.index("reaches a median")


def test_an_environment_without_any_session_is_there_as_not_measured(tmp_path: Path) -> None:
    environments = [factories.environment_config("kvm", id=name) for name in ("env1", "env2")]
    factories.write_results(factories.raw_records({"kvm": 1e8}), tmp_path, environments=environments)
    shutil.rmtree(tmp_path / "env2")
    text = parsed(rendered(tmp_path)).said
    assert text.count("KVM was planned, but not measured") == 1
    assert "env2 in detail" in text


def test_facts_that_differ_between_sessions_say_where(tmp_path: Path) -> None:
    records = [
        replace(each, facts={"host": {"kernel": f"6.12 under {each.system}", "cpus": 2, "boot_id": "x"}})
        for each in factories.raw_records({"kvm": 1e8, "xen": 1e8}, repetitions=1)
    ]
    environments = [factories.environment_config("kvm", "xen")]
    factories.write_results(records, tmp_path, environments=environments)
    (host,) = page.machines(inputs.read(tmp_path / "experiment.json", tmp_path).places[0])
    assert host.facts == (
        page.Fact("cpus", (("2", ""),)),
        page.Fact("kernel", (("6.12 under kvm", "kvm"), ("6.12 under xen", "xen"))),
    )


def test_the_order_of_sessions_is_that_of_measuring(tmp_path: Path) -> None:
    started = {"kvm": "2026-11-24T03:31:00+00:00", "xen": "2026-11-23T03:31:00+00:00"}
    records = [
        replace(each, started_at=started[each.system], order=replace(each.order, session=number))
        for number, each in enumerate(factories.raw_records({"kvm": 1e8, "xen": 1e8}, repetitions=1), 1)
    ]
    factories.write_results(records, tmp_path, environments=[factories.environment_config("kvm", "xen")])
    assert "env1 xen boot 1, env1 kvm boot 1" in parsed(rendered(tmp_path)).said


def test_scripts_among_the_commands_are_shortened() -> None:
    argv = ["sh", "-c", "\n# first line\nsecond\n", "name with space"]
    assert page.command_line(argv) == "sh -c '# first line … (2 lines)' 'name with space'"


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("env1/figures/topology.svg", "<svg", "topology.svg: not a figure"),
        ("env1/host.json", "{}", "host.json: not a prepared host: `prepared_at` is missing"),
        ("env1/statistics.csv", "a,b\n", "statistics.csv: not a table of CellStatistics"),
        ("env1/raw/kvm/boot1/tcp-1.json", "{}", "tcp-1.json: not a raw record"),
        ("experiment.json", "{}", "experiment.json: not an experiment"),
    ],
)
def test_a_file_that_is_not_what_it_should_be_is_named(
    tmp_path: Path, file: str, text: str, message: str
) -> None:
    with_facts(tmp_path)
    (tmp_path / file).write_text(text, encoding="utf-8")
    with pytest.raises(HvcostError, match=message):
        rendered(tmp_path)


def test_names_that_would_lead_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    with_facts(tmp_path)
    path = tmp_path / "experiment.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    data["environments"][0]["environment"] = "../etc"
    path.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(HvcostError, match="not a name for a file"):
        rendered(tmp_path)


def test_the_program_writes_the_page(results: Path, html: str, tmp_path: Path) -> None:
    output = tmp_path / "new" / "report.html"
    make_report.make(results / "experiment.json", results, output)
    assert output.read_text(encoding="utf-8") == html
