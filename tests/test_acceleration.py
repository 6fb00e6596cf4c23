"""Which accelerator plays an emulated host: KVM where it was seen to work, the translator everywhere else."""

from __future__ import annotations

import json
import sys
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, Literal

import pytest
from hvcost.environments import acceleration
from hvcost.environments.acceleration import Acceleration, decide, fault_of_computer, measured_otherwise
from hvcost.environments.operation import check_host
from hvcost.environments.place import Place
from hvcost.errors import MachineError, ProofError
from hvcost.images.host import HostImage
from hvcost.machines import idleness
from hvcost.machines.local import LocalConnection
from hvcost.model.link import Link

HOST = {"connection": "emulated", "cpus": 2, "memory_mib": 3072}
COMPUTER = LocalConnection("this computer")
# A QEMU that is a Python program, which says things on the machine's serial port.
FAKE = """\
import os, sys, time
console = open(sys.argv[-1].removeprefix("file:"), "w", buffering=1)
def say(text): print(text, file=console)
"""


def image_with(qemu: str, folder: Path) -> HostImage:
    program = folder / "qemu.py"
    program.write_text(FAKE + qemu)
    return HostImage(
        disk=folder / "disk.qcow2",
        kernel=folder / "vmlinux",
        initramfs=folder / "initrd.img",
        xen=folder / "xen",
        key=folder / "id_ed25519",
        known_hosts=folder / "known_hosts",
        qemu=[sys.executable, str(program)],
        qemu_version="10.0.13",
    )


def fault_with(qemu: str, folder: Path) -> str | None:
    return acceleration.fault_of_machine(2, 3072, image_with(qemu, folder), COMPUTER, folder)


def decided(wanted: str, folder: Path) -> Acceleration:
    return decide("env1 host", HOST | {"accelerator": wanted}, image_with("", folder), COMPUTER, folder)


@pytest.fixture
def device(tmp_path: Path) -> Path:
    device = tmp_path / "kvm"
    device.touch()
    return device


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    modules = tmp_path / "module"
    modules.mkdir()
    return modules


def switch(modules: Path, driver: str, nested: str) -> None:
    parameters = modules / driver / "parameters"
    parameters.mkdir(parents=True)
    (parameters / "nested").write_text(f"{nested}\n")


# What is to be seen of the computer


def test_a_computer_without_kvm_has_no_use_of_it(tmp_path: Path, modules: Path) -> None:
    switch(modules, "kvm_amd", "1")
    fault = fault_of_computer(tmp_path / "missing", modules)
    assert fault == f"{tmp_path}/missing cannot be opened (No such file or directory)"


def test_an_open_device_proves_nothing(device: Path, modules: Path) -> None:
    (modules / "kvm/parameters").mkdir(parents=True)
    fault = fault_of_computer(device, modules)
    assert (
        fault == "neither kvm_amd nor kvm_intel is loaded, so nothing says that virtualisation can be nested"
    )


@pytest.mark.parametrize(("driver", "nested"), [("kvm_amd", "0"), ("kvm_intel", "N")])
def test_nested_virtualisation_may_be_switched_off(
    device: Path, modules: Path, driver: str, nested: str
) -> None:
    switch(modules, driver, nested)
    assert fault_of_computer(device, modules) == (
        f"nested virtualisation is switched off ({modules}/{driver}/parameters/nested); "
        f"loaded with nested=1, {driver} has it"
    )


@pytest.mark.parametrize(("driver", "nested"), [("kvm_amd", "1"), ("kvm_intel", "Y")])
def test_nested_virtualisation_may_be_switched_on(
    device: Path, modules: Path, driver: str, nested: str
) -> None:
    switch(modules, driver, nested)
    assert fault_of_computer(device, modules) is None


# What is to be seen of a machine


def test_kvm_works_when_the_guest_of_a_machine_speaks(tmp_path: Path) -> None:
    assert fault_with("say('hvcost-machine'); say('hvcost-guest-2'); time.sleep(600)", tmp_path) is None


def test_a_guest_s_kernel_that_prints_its_command_line_is_no_guest_that_runs(tmp_path: Path) -> None:
    fault = fault_with(
        "say('hvcost-machine'); say('rdinit=/bin/sh echo hvcost-guest-$((1+1))'); say('hvcost-ended')",
        tmp_path,
    )
    assert fault and fault.startswith("no guest starts in a machine under KVM: rdinit")


def test_a_machine_that_does_not_start_ends_the_trial_at_once(tmp_path: Path) -> None:
    qemu = """
print("qemu: warning: host doesn't support requested feature", file=sys.stderr)
print("qemu: error: failed to set MSR 0x10a", file=sys.stderr)
print("kvm.c:3877: Assertion failed", file=sys.stderr)
sys.exit(134)
"""
    assert fault_with(qemu, tmp_path) == (
        "no machine starts under KVM: QEMU ended with exit code 134: qemu: error: failed to set MSR 0x10a"
    )


def test_a_machine_without_nested_virtualisation_says_so(tmp_path: Path) -> None:
    text = "its processor shows neither AMD-V (svm) nor VT-x (vmx)"
    assert text in acceleration.SCRIPT.read_text()
    fault = fault_with(f"say('hvcost-machine'); say('{text}'); say('hvcost-ended')", tmp_path)
    assert fault == f"no guest starts in a machine under KVM: {text}"


def test_a_machine_that_does_nothing_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idleness, "LOOK_EVERY_S", 0.1)
    qemu = "print('KVM internal error. Suberror: 1', file=sys.stderr, flush=True); time.sleep(600)"
    fault = fault_with(qemu, tmp_path)
    assert fault and fault.startswith("no machine starts under KVM: QEMU hangs, silent for ")
    assert fault.endswith(" of the processor: KVM internal error. Suberror: 1")


def test_a_machine_that_is_at_work_and_says_nothing_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceleration, "SILENT_CPU_TIME_S", 3.0)
    fault = fault_with("say('hvcost-machine'); say('booting')\nwhile True: pass", tmp_path)
    assert fault and fault.startswith("no guest starts in a machine under KVM: QEMU hangs, silent for ")
    assert fault.endswith(" of the processor: booting")


def test_a_machine_that_gets_on_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceleration, "SILENT_CPU_TIME_S", 3.0)
    qemu = """
for step in range(1, 11):
    while time.process_time() < 0.5 * step: pass
    say(f"step {step}")
say("hvcost-guest-2")
time.sleep(600)
"""
    assert fault_with(qemu, tmp_path) is None


# The answer


@pytest.fixture
def no_kvm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceleration, "fault_of_computer", lambda: "/dev/kvm is missing")


@pytest.fixture
def kvm(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("fault_of_computer", "fault_of_machine"):
        monkeypatch.setattr(acceleration, name, lambda *_: None)


@pytest.mark.usefixtures("no_kvm")
def test_without_kvm_the_translator_plays_and_says_why(tmp_path: Path) -> None:
    assert str(decided("auto", tmp_path)) == "tcg (/dev/kvm is missing)"


@pytest.mark.usefixtures("no_kvm")
def test_kvm_that_does_not_work_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(MachineError) as refused:
        decided("kvm", tmp_path)
    assert str(refused.value) == (
        "env1 host: host.accelerator is 'kvm', but on this computer KVM does not work for machines that run "
        "guests themselves: /dev/kvm is missing; allowed here: auto, tcg"
    )


@pytest.mark.usefixtures("kvm")
@pytest.mark.parametrize(("wanted", "accelerator"), [("auto", "kvm"), ("kvm", "kvm"), ("tcg", "tcg")])
def test_kvm_that_works_is_taken_unless_the_translator_is_wanted(
    tmp_path: Path, wanted: str, accelerator: str
) -> None:
    found = decided(wanted, tmp_path)
    reason = "the configuration says so" if wanted == "tcg" else acceleration.WORKS
    assert found == Acceleration(accelerator, reason)  # type: ignore[arg-type]


# What is written down


def test_a_host_that_was_prepared_before_there_was_a_choice_is_as_configured() -> None:
    prepared = {"machine": {"host": HOST | {"accelerator": "tcg"}}}
    assert acceleration.of_prepared(prepared) == Acceleration("tcg", acceleration.CONFIGURED)
    decided = {"acceleration": {"accelerator": "kvm", "reason": "seen"}}
    assert acceleration.of_prepared(prepared | decided) == Acceleration("kvm", "seen")
    assert acceleration.of_prepared({"machine": {"host": {"connection": "ssh"}}}) is None


def write_session(folder: Path, system: str, content: Any) -> None:
    session = folder / f"raw/{system}/boot1/session.json"
    session.parent.mkdir(parents=True)
    session.write_text(json.dumps(content))


def test_sessions_that_were_played_otherwise_are_found(tmp_path: Path) -> None:
    host_json = tmp_path / "host.json"
    spec = {"host": HOST | {"accelerator": "auto"}}
    for system, accelerator in (("kvm", "tcg"), ("qemu", "kvm")):
        facts = {"emulator": {"accelerator": accelerator}}
        write_session(tmp_path, system, {"spec": spec, "facts": facts})
    # Of the time before there was a choice, of a real host, and of a file that is none.
    old = {"spec": {"host": {"accelerator": "tcg"}}, "facts": {"emulator": {"qemu_version": "10.0.13"}}}
    write_session(tmp_path, "xen", old)
    write_session(tmp_path, "bare-metal", {"spec": {"host": {"connection": "ssh"}}, "facts": {}})
    write_session(tmp_path, "virtualbox", "no session")

    assert measured_otherwise(host_json) == {}
    host_json.write_text(json.dumps({"acceleration": None}))
    assert measured_otherwise(host_json) == {}
    host_json.write_text(json.dumps({"acceleration": {"accelerator": "kvm", "reason": "seen"}}))
    found = measured_otherwise(host_json)
    assert found == {"kvm/boot1": "tcg", "xen/boot1": "tcg"}
    assert acceleration.said_of(found).startswith(
        "it is not played as it was; sessions under another accelerator (kvm/boot1 tcg, xen/boot1 tcg) cannot"
    )


# What a session is held to


@pytest.mark.parametrize(("decided", "vendor"), [("tcg", "KVMKVMKVM"), ("kvm", "TCGTCGTCGTCG")])
def test_a_host_that_is_not_played_as_decided_is_not_measured(
    tmp_path: Path, decided: Literal["tcg", "kvm"], vendor: str
) -> None:
    link = Link(1000, 1500, IPv4Network("198.18.79.0/24"), "cubic")
    host = HOST | {"accelerator": "auto"}
    place = Place("env1", link, host, {}, tmp_path, None, Acceleration(decided, "seen"))
    check_host(place, {"cpuid_vendor": acceleration.VENDORS[decided]})
    with pytest.raises(ProofError, match=f"its accelerator should be {decided}, but its CPU says '{vendor}'"):
        check_host(place, {"cpuid_vendor": vendor})
