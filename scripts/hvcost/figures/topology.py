"""Machines, link, bridge and systems of one environment (the study's figures 4.1 and 4.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyBboxPatch

from hvcost.figures import Picture, style
from hvcost.figures.rates import rate_text
from hvcost.figures.text import (
    MUTED,
    SMALL_PT,
    TEXT_PT,
    TITLE_PT,
    Paragraph,
    paragraphs_height,
    write_paragraphs,
)
from hvcost.model.description import BASELINE, PROVIDED, UNDER_XEN, Environment
from hvcost.model.record import is_played

EDGE_IN = 0.15
PAD_IN = 0.1
CLIENT_IN = 1.75
LINK_IN = 1.9
NIC_IN = 1.3
BRIDGE_IN = 1.2
SYSTEM_IN = 2.5
GAP_IN = 0.4
SYSTEM_GAP_IN = 0.12
MARK_IN = 0.24

Facts = Mapping[str, Any]


@dataclass(frozen=True)
class _Box:
    """Text in a frame; its height follows from the text."""

    width: float
    paragraphs: tuple[Paragraph, ...]

    @property
    def height(self) -> float:
        return paragraphs_height(self.paragraphs) + 2 * PAD_IN

    def draw(
        self, figure: Figure, x: float, top: float, height: float | None = None, indent: float = 0.0
    ) -> None:
        frame(figure, x, top, self.width, height or self.height)
        slack = ((height or self.height) - self.height) / 2
        write_paragraphs(figure, x + PAD_IN + indent, top - PAD_IN - slack, self.paragraphs)


def draw(environment: Environment, facts: Facts, systems: Mapping[str, str]) -> Picture:
    """Client, link, and host with its interface, bridge and systems (name -> hypervisor)."""
    addresses = _addresses(environment)
    client = _box(CLIENT_IN, "Client", _client_lines(environment, addresses))
    interface = _box(NIC_IN, "Interface", _interface_lines(environment, facts))
    switch = "Virtual switch" if environment.host.get("connection") == PROVIDED else "Bridge"
    bridge = _box(BRIDGE_IN, switch, [_address(addresses, "host")])
    boxes = {name: _system_box(name, hypervisor, addresses) for name, hypervisor in systems.items()}
    inner_in = NIC_IN + GAP_IN + BRIDGE_IN + GAP_IN + SYSTEM_IN
    host_in = inner_in + 2 * PAD_IN
    host_text = [
        Paragraph(("Host",), TEXT_PT + 1, weight="bold"),
        *_small(_host_lines(environment, facts), inner_in),
    ]
    note_text = _small([_note(environment)], inner_in)
    stack_in = sum(box.height + SYSTEM_GAP_IN for box in boxes.values()) - SYSTEM_GAP_IN
    rows_in = max(stack_in, interface.height, bridge.height)
    host_text_in = paragraphs_height(host_text)
    host_height = host_text_in + rows_in + paragraphs_height(note_text) + 4 * PAD_IN

    width = EDGE_IN + CLIENT_IN + LINK_IN + host_in + EDGE_IN
    text_in = width - 2 * EDGE_IN
    header = [
        Paragraph.fit(environment.title, text_in, TITLE_PT, weight="bold"),
        Paragraph.fit(environment.caveat, text_in, colour=MUTED),
    ]
    link_above, link_below = _link_texts(environment)
    body = max(host_height, client.height)
    height = EDGE_IN + body + 0.12 + paragraphs_height(header) + EDGE_IN

    figure = Figure(figsize=(width, height))
    write_paragraphs(figure, EDGE_IN, height - EDGE_IN, header)
    top = EDGE_IN + body
    host_x = EDGE_IN + CLIENT_IN + LINK_IN
    frame(figure, host_x, top, host_in, body, face="#f4f4f4")
    write_paragraphs(figure, host_x + PAD_IN, top - PAD_IN, host_text)
    rows_top = top - host_text_in - 2 * PAD_IN
    rows_top -= (body - host_height) / 2
    middle = rows_top - rows_in / 2
    write_paragraphs(figure, host_x + PAD_IN, rows_top - rows_in - PAD_IN, note_text)

    nic_x = host_x + PAD_IN
    bridge_x = nic_x + NIC_IN + GAP_IN
    system_x = bridge_x + BRIDGE_IN + GAP_IN
    _wire(figure, [(EDGE_IN + CLIENT_IN, middle), (nic_x, middle)], 2.2)
    _wire(figure, [(nic_x + NIC_IN, middle), (bridge_x, middle)], 1.4)
    centre = EDGE_IN + CLIENT_IN + LINK_IN / 2
    write_paragraphs(
        figure,
        centre,
        middle + 0.06 + paragraphs_height(link_above),
        link_above,
        align="center",
    )
    write_paragraphs(figure, centre, middle - 0.06, link_below, align="center")
    # The client stands at the height of the link unless the figure is too low for that.
    client_top = min(top, max(middle + client.height / 2, EDGE_IN + client.height))
    client.draw(figure, EDGE_IN, client_top)
    interface.draw(figure, nic_x, middle + interface.height / 2)
    bridge.draw(figure, bridge_x, middle + bridge.height / 2)
    y = middle + stack_in / 2
    for name, box in boxes.items():
        own = style.system_style(name, systems[name])
        port = y - box.height / 2
        knee = bridge_x + BRIDGE_IN + GAP_IN / 2
        _wire(
            figure,
            [(bridge_x + BRIDGE_IN, middle), (knee, middle), (knee, port), (system_x, port)],
            1.4,
        )
        box.draw(figure, system_x, y, indent=MARK_IN)
        style.draw_mark(figure, system_x + PAD_IN + 0.07, y - PAD_IN - 0.09, own)
        y -= box.height + SYSTEM_GAP_IN

    return Picture(
        name="topology",
        title=f"{environment.title}; topology",
        description=_description(environment, systems),
        figure=figure,
    )


def frame(figure: Figure, x: float, top: float, width: float, height: float, face: str = "white") -> None:
    """Draw a frame with its upper left corner at (x, top), in inches."""
    figure.add_artist(
        FancyBboxPatch(
            (x, top - height),
            width,
            height,
            boxstyle="round,pad=0,rounding_size=0.06",
            facecolor=face,
            edgecolor=MUTED,
            linewidth=0.9,
            transform=figure.dpi_scale_trans,
            zorder=1,
        )
    )


def _wire(figure: Figure, places: Sequence[tuple[float, float]], line_width: float) -> None:
    figure.add_artist(
        Line2D(
            [x for x, _y in places],
            [y for _x, y in places],
            color=MUTED,
            linewidth=line_width,
            solid_joinstyle="round",
            transform=figure.dpi_scale_trans,
            zorder=1.5,
        )
    )


def _box(width: float, name: str, lines: Sequence[str], indent: float = 0.0) -> _Box:
    inner = width - 2 * PAD_IN - indent
    title = Paragraph.fit(name, inner, TEXT_PT, weight="bold")
    return _Box(width, (title, *_small(lines, inner)))


def _small(lines: Sequence[str], width: float) -> list[Paragraph]:
    return [Paragraph.fit(line, width, SMALL_PT, MUTED) for line in lines if line]


def _system_box(name: str, hypervisor: str, addresses: Mapping[str, str]) -> _Box:
    end = "guest"
    if hypervisor == BASELINE:
        end, place = "host", "on the host"
    elif hypervisor == UNDER_XEN:
        end, place = "host", "on the host under Xen"
    elif hypervisor == PROVIDED:
        place = "in a guest that was there"
    else:
        place = "in a guest" + (f" under {hypervisor}" if hypervisor and hypervisor != name else "")
    line = ", ".join(filter(None, (f"iperf server {place}", addresses[end])))
    return _box(SYSTEM_IN, name, [line], MARK_IN)


def _addresses(environment: Environment) -> dict[str, str]:
    """Addresses of the three ends, at fixed places of the link's network, unless others have given them."""
    if environment.host.get("connection") == PROVIDED:
        return dict.fromkeys(("client", "host", "guest"), "")
    try:
        network = ip_network(str(environment.link.get("network")))
    except ValueError:
        return dict.fromkeys(("client", "host", "guest"), "unknown")
    return {
        end: str(network.network_address + place)
        for place, end in enumerate(("client", "host", "guest"), start=1)
    }


def _address(addresses: Mapping[str, str], end: str) -> str:
    return f"address {addresses[end]}" if addresses[end] else ""


def _client_lines(environment: Environment, addresses: Mapping[str, str]) -> list[str]:
    client = environment.client
    here = ""
    if client.get("connection") == "local":
        here = "this computer" + (", in a network namespace" if is_played(environment.host) else "")
    return [
        str(client.get("description") or here),
        "iperf client",
        _address(addresses, "client"),
    ]


def _host_lines(environment: Environment, facts: Facts) -> list[str]:
    host = environment.host
    played = ""
    if environment.emulated:
        accelerator = _either(facts, host, "accelerator")
        played = f"played by QEMU, accelerator {accelerator}" if accelerator else "played by QEMU"
    cpus = _either(facts, host, "cpus")
    memory = _memory(facts, host)
    kernel = facts.get("kernel")
    qemu = facts.get("qemu_version")
    virtualbox = facts.get("virtualbox_version")
    parts = [
        str(facts.get("cpu_model") or ""),
        f"{cpus} CPU{'s' if str(cpus) != '1' else ''}" if cpus else "",
        f"{memory} RAM" if memory else "",
        f"kernel {kernel}" if kernel else "",
        f"QEMU {qemu}" if qemu else "",
        f"VirtualBox {virtualbox}" if virtualbox else "",
    ]
    return [
        ", ".join(part for part in (str(host.get("description") or ""), played) if part),
        ", ".join(part for part in parts if part),
    ]


def _interface_lines(environment: Environment, facts: Facts) -> list[str]:
    name = _either(facts, environment.host, "interface")
    driver = facts.get("driver")
    return [
        str(name or "measured interface"),
        f"driver {driver}" if driver else "",
        f"MTU {facts.get('mtu', environment.link['mtu'])}",
    ]


def _link_texts(
    environment: Environment,
) -> tuple[list[Paragraph], list[Paragraph]]:
    link = environment.link
    room = LINK_IN - 0.2
    congestion = link.get("congestion_control")
    above = [
        Paragraph.fit(rate_text(environment.link_bps), room, weight="bold"),
    ]
    if is_played(environment.host):
        above += _small(["virtual link"], room)
    below = _small(
        [
            f"MTU {link['mtu']}",
            str(link.get("network") or ""),
            f"TCP {congestion}" if congestion else "",
        ],
        room,
    )
    return above, below


def _note(environment: Environment) -> str:
    guest = {} if environment.host.get("connection") == PROVIDED else environment.guest
    sizes = ", ".join(
        f"{guest[key]} {unit}"
        for key, unit in (("cpus", "CPU"), ("memory_mib", "MiB RAM"), ("disk_gib", "GiB disk"))
        if key in guest
    )
    each = f" Each guest has {sizes}." if sizes else ""
    return f"One system runs at a time.{each}"


def _memory(facts: Facts, host: Mapping[str, Any]) -> str:
    """Memory that the machine has by configuration, or else what its kernel counts."""
    if host.get("memory_mib"):
        return f"{host['memory_mib']} MiB"
    try:
        return f"{float(facts['memory_kib']) / 1024:.0f} MiB"
    except (KeyError, TypeError, ValueError):
        return ""


def _either(facts: Facts, spec: Mapping[str, Any], key: str) -> Any:
    return facts.get(key) or spec.get(key)


def _description(environment: Environment, systems: Mapping[str, str]) -> str:
    link = environment.link
    return " ".join(
        (
            f"Client – link of {rate_text(environment.link_bps)}, MTU {link['mtu']}, "
            f"network {link.get('network', 'unknown')} – host's interface – bridge – "
            f"one system at a time: {', '.join(systems) or 'none'}.",
            environment.caveat,
        )
    ).strip()
