"""What limits the figures, in words: the link, and who plays the machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hvcost.model.description import PLAYERS, Environment
from hvcost.model.link import FRAMING_BYTES, HEADER_BYTES, IMPOSSIBLE_SHARE
from hvcost.report import numbers
from hvcost.report.costs import baseline
from hvcost.report.numbers import CONFIGURATION, Cell, Number
from hvcost.report.words import Sentence, listed, sentence, start, title


def limit(environment: Environment, cells: Sequence[Cell]) -> Sentence:
    """What the link carries, and whether it was the link that was measured."""
    if cells and cells[0].row.limit is None:
        return sentence(
            "The link of {where} sets no limit to {title}.", where=environment.id, title=title(cells[0].row)
        )
    mtu = int(environment.link["mtu"])
    return sentence(
        "The link of {where} runs at {rate} Mbit/s and carries at most {limit} Mbit/s of TCP: of the {taken} "
        "bytes that a full packet takes of it, {data} are data. {reached}",
        where=environment.id,
        rate=Number(f"{environment.link_bps / 1e6:g}", CONFIGURATION),
        limit=Number(numbers.mbit(environment.tcp_limit_bps), cells[0].id if cells else CONFIGURATION),
        taken=Number(str(mtu + FRAMING_BYTES), CONFIGURATION),
        data=Number(str(mtu - HEADER_BYTES), CONFIGURATION),
        reached=_reached(cells),
    )


def _reached(cells: Sequence[Cell]) -> Sentence:
    impossible = [cell for cell in cells if (cell.row.limit_share or 0.0) > IMPOSSIBLE_SHARE]
    if impossible:
        fastest = max(impossible, key=lambda cell: cell.row.limit_share or 0.0)
        return sentence(
            "Warning: {who} reached {share} of that, which cannot be. This link’s rate is not what the "
            "configuration says (link.rate_mbit), so nothing can be said of what the link limits.",
            who=start(fastest.row.system),
            share=Number(f"{100 * (fastest.row.limit_share or 0.0):.0f} %", fastest.id),
        )
    bare_metal = baseline(cells)
    near = listed(
        [start(cell.row.system) for cell in cells if cell.row.runs_at_limit and cell is not bare_metal]
    )
    if bare_metal is None or bare_metal.row.limit_share is None:
        text = "{near} came near it: there, this link cannot tell systems apart."
        return sentence(text if near else "No system came near it.", near=near)
    reached = numbers.median_alone(bare_metal)
    if bare_metal.row.at_limit:
        return sentence(
            "Bare metal reached a median of {reached}, so hypervisors that come near cannot be told apart by "
            "this link, and every cost there is a lower bound.",
            reached=reached,
        )
    if bare_metal.row.runs_at_limit:
        return sentence(
            "Bare metal reached a median of {reached}, but {runs} runs came near all of it: the link may "
            "have held these back, so every cost there is a lower bound.",
            reached=reached,
            runs=numbers.runs_at_limit(bare_metal),
        )
    return sentence(
        "Bare metal reached a median of {reached}, {share} of that: the machines set this figure, not the "
        "link.{others}",
        reached=reached,
        share=Number(f"{100 * bare_metal.row.limit_share:.0f} %", bare_metal.id),
        others=f" {near} came near it all the same." if near else "",
    )


def caveat(environment: Environment) -> str:
    """What these numbers are not; it belongs right beside them."""
    if environment.emulated:
        under = {"tcg": " under translation", "kvm": " under nested virtualisation"}
        accelerator = str(environment.host.get("accelerator"))
        return (
            f"Emulated machines: the figures compare the hypervisors’ paths{under.get(accelerator, '')}. "
            "They are not the speed of hardware."
        )
    return environment.caveat


def played(environment: Environment, sessions: Mapping[str, Sequence[str]], reason: str) -> str:
    """Who played the host in which sessions, by accelerator, and why; nothing if nobody did."""
    if len(sessions) > 1:
        each = "; ".join(f"{accelerator} in {listed(own)}" for accelerator, own in sessions.items())
        return (
            f"Warning: the host of {environment.id} was not played in the same way in all sessions: {each}. "
            "They cannot be compared with each other. The next start of snakemake measures again what is out "
            "of date."
        )
    return "".join(
        f"The host was played by {PLAYERS.get(accelerator, accelerator)}{f': {reason}' if reason else ''}."
        for accelerator in sessions
    ).replace("'", "’")
