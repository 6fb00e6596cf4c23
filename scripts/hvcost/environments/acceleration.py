"""Which of QEMU's two ways plays an emulated machine: this computer's KVM, or the translator (TCG).

KVM is taken where a machine under it was seen to start a guest of its own, since that is what it is for.
An open `/dev/kvm` proves nothing: there are computers where no ordinary machine runs under it.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hvcost.errors import MachineError, ParseError
from hvcost.files import read_json
from hvcost.images.host import HostImage
from hvcost.machines import facts
from hvcost.machines.idleness import Idleness
from hvcost.machines.local import LocalConnection, cpu_time_s, end_group
from hvcost.model.record import accelerator_of

DEVICE = Path("/dev/kvm")
MODULES = Path("/sys/module")
DRIVERS = ("kvm_amd", "kvm_intel")
# Without 5-level paging VirtualBox's BIOS boots; without RDTSCP Xen can emulate what its guests do.
PROCESSORS = {
    "tcg": ("-accel", "tcg,thread=multi", "-cpu", "max,-la57,-rdtscp"),
    "kvm": ("-accel", "kvm", "-cpu", "host"),
}
# What the processor of a machine says of who plays it (CPUID leaf 0x40000000).
VENDORS = {"tcg": facts.TRANSLATED, "kvm": "KVMKVMKVM"}
CONFIGURED = "the configuration says so"
WORKS = "a machine under this computer's KVM was seen to start a guest under a KVM of its own"
SCRIPT = Path(__file__).parent / "acceleration.sh"
# Where QEMU hands it over to the machine (Linux, Documentation/ABI/testing/sysfs-firmware-qemu_fw_cfg).
SCRIPT_NAME = "opt/hvcost/trial"
FIRMWARE = "/sys/firmware/qemu_fw_cfg/by_name"
MACHINE, GUEST, ENDED = "hvcost-machine", "hvcost-guest-2", "hvcost-ended"
# Whoever starts says something again and again. A machine hangs if it says nothing while its emulator uses so
# much of the processor, or idles.
SILENT_CPU_TIME_S = 120.0
POLL_S = 0.1
SHOWN_CHARACTERS = 200


@dataclass(frozen=True)
class Acceleration:
    """How a machine is played, and why so. `reason` is a sentence without its full stop."""

    accelerator: Literal["tcg", "kvm"]
    reason: str

    def __str__(self) -> str:
        return f"{self.accelerator} ({self.reason})"


def decide(
    name: str,
    host: Mapping[str, Any],
    image: HostImage,
    computer: LocalConnection,
    folder: Path,
) -> Acceleration:
    """How this computer plays an emulated host with these keys of the configuration; `folder` is for scratch.

    Raises MachineError if it is to be KVM and that does not work.
    """
    wanted = host["accelerator"]
    if wanted == "tcg":
        return Acceleration("tcg", CONFIGURED)
    fault = fault_of_computer() or fault_of_machine(host["cpus"], host["memory_mib"], image, computer, folder)
    if fault is None:
        return Acceleration("kvm", WORKS)
    if wanted == "kvm":
        raise MachineError(
            f"{name}: host.accelerator is 'kvm', but on this computer KVM does not work for machines that "
            f"run guests themselves: {fault}; allowed here: auto, tcg"
        )
    return Acceleration("tcg", fault)


def of_prepared(data: Mapping[str, Any]) -> Acceleration | None:
    """How a host is played, from the content of its host.json; None if it is no emulated one.

    Before there was a choice, the configuration named the accelerator.
    """
    host = data["machine"]["host"]
    if host["connection"] != "emulated":
        return None
    if "acceleration" in data:
        return Acceleration(**data["acceleration"])
    return Acceleration(host["accelerator"], CONFIGURED)


def measured_otherwise(host_json: Path) -> dict[str, str]:
    """Sessions beside a host.json whose host was played in another way than it says.

    What played it, by the session's folder, such as `kvm/boot1`. Files that cannot be read tell nothing
    here: the programs that need them complain.
    """
    decided = _told(host_json, lambda data: data["acceleration"]["accelerator"])
    found = {}
    for session in sorted(host_json.parent.glob("raw/*/*/session.json")) if decided else ():
        played = _told(session, lambda data: accelerator_of(data["spec"], data["facts"]))
        if played not in (None, decided):
            found["/".join(session.parts[-3:-1])] = str(played)
    return found


def said_of(otherwise: Mapping[str, str]) -> str:
    """Sessions whose host was played in another way than now, and what becomes of them, in a sentence."""
    sessions = ", ".join(f"{session} {accelerator}" for session, accelerator in otherwise.items())
    return (
        f"it is not played as it was; sessions under another accelerator ({sessions}) cannot be compared "
        "with later ones, and the next start of snakemake measures them again"
    )


def fault_of_computer(device: Path = DEVICE, modules: Path = MODULES) -> str | None:
    """Why this computer's KVM is of no use to a machine that runs guests; None if nothing is to be seen."""
    try:
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return f"{device} cannot be opened ({error.strerror})"
    switches = [modules / driver / "parameters/nested" for driver in DRIVERS]
    there = [switch for switch in switches if switch.is_file()]
    if not there:
        return f"neither {' nor '.join(DRIVERS)} is loaded, so nothing says that virtualisation can be nested"
    if not any(switch.read_text().strip() in ("1", "Y") for switch in there):
        return (
            f"nested virtualisation is switched off ({there[0]}); "
            f"loaded with nested=1, {there[0].parts[-3]} has it"
        )
    return None


def fault_of_machine(
    cpus: int, memory_mib: int, image: HostImage, computer: LocalConnection, folder: Path
) -> str | None:
    """Why a machine under KVM cannot run guests under a KVM of its own; None if it was seen to start one.

    It is the machine of the image, with so many processors and so much memory, but without network; what it
    writes is forgotten.
    """
    console = folder / "trial.log"
    arguments = [
        *image.qemu,
        "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-machine", "q35,graphics=off", *PROCESSORS["kvm"], "-smp", str(cpus), "-m", str(memory_mib),
        "-kernel", str(image.kernel), "-initrd", str(image.initramfs),
        "-append", "earlyprintk=serial console=ttyS0 panic=-1 "
                   f'init=/usr/bin/sh -- -c "modprobe qemu_fw_cfg; . {FIRMWARE}/{SCRIPT_NAME}/raw"',
        "-drive", f"file={image.disk},format=qcow2,if=virtio,snapshot=on",
        "-fw_cfg", f"name={SCRIPT_NAME},file={SCRIPT}",
        "-serial", f"file:{console}",
    ]  # fmt: skip
    return _fault_seen(computer, arguments, console)


def _fault_seen(computer: LocalConnection, arguments: list[str], console: Path) -> str | None:
    """What goes wrong when QEMU is started so, from what is said on the console; None if its guest speaks."""
    console.write_bytes(b"")
    errors = console.with_suffix(".qemu")
    with errors.open("wb") as stderr:
        process = computer.start(arguments, stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr)
    try:
        silence = _Silence(process, "")
        while True:
            exit_code = process.poll()
            said = console.read_text(encoding="utf-8", errors="replace")
            if GUEST in said:
                return None
            what = "guest starts in a machine" if MACHINE in said else "machine starts"
            who = f"no {what} under KVM"
            if ENDED in said:
                return f"{who}: {_last_line(said.partition(MACHINE)[2].partition(ENDED)[0])}"
            why = _complaint(errors.read_text(errors="replace")) or _last_line(said) or "(it said nothing)"
            if exit_code is not None:
                return f"{who}: QEMU ended with exit code {exit_code}: {why}"
            if said != silence.said:
                silence = _Silence(process, said)
            elif silence.lasts_too_long():
                return f"{who}: QEMU hangs, {silence}: {why}"
            time.sleep(POLL_S)
    finally:
        end_group(process)


class _Silence:
    """The time since a machine said something new, by the clock and by its emulator's processor time."""

    def __init__(self, process: subprocess.Popen[bytes], said: str) -> None:
        self.said = said
        self._process = process
        self._idleness = Idleness(process)
        self._start_s = time.monotonic()
        self._used_s = cpu_time_s(process)

    def lasts_too_long(self) -> bool:
        """Whether the emulator did a lot meanwhile, or does nothing: it is not the computer that is slow."""
        return self._idleness.lasts() or self._used_meanwhile_s() > SILENT_CPU_TIME_S

    def __str__(self) -> str:
        return (
            f"silent for {time.monotonic() - self._start_s:.0f} s, in which it used "
            f"{self._used_meanwhile_s():.0f} s of the processor"
        )

    def _used_meanwhile_s(self) -> float:
        return cpu_time_s(self._process) - self._used_s


def _complaint(errors: str) -> str:
    """What QEMU complained of first, warnings apart: what follows is a dump of registers."""
    complaints = (line.strip() for line in errors.splitlines() if line.strip() and "warning:" not in line)
    return next(complaints, "")[:SHOWN_CHARACTERS]


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][-SHOWN_CHARACTERS:] if lines else ""


def _told(path: Path, content: Callable[[dict[str, Any]], str | None]) -> str | None:
    """The accelerator that a file tells of; None if it tells nothing."""
    try:
        return read_json(path, "of an emulated host", content)
    except ParseError:
        return None
