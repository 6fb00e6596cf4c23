"""The trial of KVM with real machines: here, translated, and within an emulated machine. Needs root."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hvcost.environments import acceleration
from hvcost.environments.acceleration import decide, fault_of_machine
from hvcost.errors import MachineError
from hvcost.images.host import HostImage, load
from hvcost.machines.base import Connection
from hvcost.machines.local import LocalConnection
from workspace import ROOT, Workspace

COMPUTER = LocalConnection("this computer")
HOST = {"connection": "emulated", "cpus": 1, "memory_mib": 1024}
NESTED_TIMEOUT_S = 7200.0
NESTED_TRIES = 3

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="images are built by root"),
]


@pytest.fixture(scope="module")
def image(workspace: Workspace) -> HostImage:
    return load(workspace.folder / "results/host-image/manifest.json")


def test_this_computer_has_one_answer_whoever_asks(image: HostImage, tmp_path: Path) -> None:
    found = decide("host", HOST | {"accelerator": "auto"}, image, COMPUTER, tmp_path)
    if found.accelerator == "kvm":
        assert decide("host", HOST | {"accelerator": "kvm"}, image, COMPUTER, tmp_path) == found
        return
    with pytest.raises(MachineError) as refused:
        decide("host", HOST | {"accelerator": "kvm"}, image, COMPUTER, tmp_path)
    assert f"themselves: {found.reason}; allowed here: auto, tcg" in str(refused.value)


@pytest.mark.skipif(not acceleration.DEVICE.exists(), reason="there is no /dev/kvm")
def test_an_open_device_is_put_to_the_test(
    image: HostImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Either answer will do, and nobody has to wait long for that of a computer whose KVM does not work.
    monkeypatch.setattr(acceleration, "SILENT_CPU_TIME_S", 20.0)
    fault = fault_of_machine(2, 1024, image, COMPUTER, tmp_path)
    assert fault is None or fault.startswith(
        ("no machine starts under KVM: QEMU ", "no guest starts in a machine under KVM: ")
    )


@pytest.mark.parametrize(
    ("processor", "fault"),
    [
        (acceleration.PROCESSORS["tcg"][-1], None),
        (
            f"{acceleration.PROCESSORS['tcg'][-1]},-svm",
            "no guest starts in a machine under KVM: its processor shows neither AMD-V (svm) nor VT-x (vmx)",
        ),
    ],
    ids=["AMD-V", "no AMD-V"],
)
def test_a_guest_starts_if_the_machine_s_processor_can(
    image: HostImage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    processor: str,
    fault: str | None,
) -> None:
    """The machine is translated: its own KVM is what it is, and starts the guest."""
    translated = ("-accel", "tcg,thread=multi", "-cpu", processor)
    monkeypatch.setitem(acceleration.PROCESSORS, "kvm", translated)
    assert fault_of_machine(2, 1024, image, COMPUTER, tmp_path) == fault


# In an emulated machine, of which KVM works: the same question, asked there


@pytest.fixture(scope="module")
def machine(workspace: Workspace, image: HostImage) -> Iterator[Connection]:
    """The emulated machine, with our programs and the image's kernel in it."""
    workspace = replace(workspace, results="results/quick")
    workspace.run("results/quick/quick/host.json", "--configfile", "config/quick.yaml")
    with workspace.machine() as operation:
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            tar.add(ROOT / "scripts/hvcost", "hvcost")
        operation.host.run(["mkdir", FOLDER])
        operation.host.run(["tar", "-xC", FOLDER], stdin=archive.getvalue())
        for file in (image.kernel, image.initramfs):
            operation.host.put(file, f"{FOLDER}/{file.name}")
        # A disk that somebody writes to is no image; QEMU's own files are elsewhere then.
        operation.host.run(["mount", "-t", "tmpfs", "tmpfs", "/var/tmp"])
        operation.host.run(["mount", "-o", "remount,ro", "/"])
        yield operation.host


FOLDER = "/run/hvcost-trial"
# Its own disk is the image. What the trial writes is not kept.
ASK = f"""
import json, subprocess, sys
from dataclasses import asdict
from pathlib import Path
from hvcost.environments.acceleration import decide
from hvcost.errors import MachineError
from hvcost.images.host import HostImage
from hvcost.machines.local import LocalConnection

folder = Path("{FOLDER}")
disk = folder / "disk.qcow2"
disk.unlink(missing_ok=True)
subprocess.run(["qemu-img", "create", "-qf", "qcow2", "-b", "/dev/vda", "-F", "raw", disk], check=True)
kernel, initramfs = folder / "vmlinux", folder / "initrd.img"
image = HostImage(disk, kernel, initramfs, kernel, disk, disk, ["qemu-system-x86_64"], "")
computer = LocalConnection("this computer")
host = {HOST} | {{"accelerator": sys.argv[1]}}
try:
    print(json.dumps(asdict(decide("host", host, image, computer, folder))))
except MachineError as error:
    print(json.dumps({{"refused": str(error)}}))
"""


def asked(machine: Connection, wanted: str) -> dict[str, str]:
    program = ["env", f"PYTHONPATH={FOLDER}", "python3", "-c", ASK, wanted]
    answer: dict[str, str] = json.loads(machine.run(program, timeout_s=NESTED_TIMEOUT_S).stdout)
    return answer


@pytest.mark.lab
def test_in_an_emulated_machine_kvm_has_to_be_there_and_switched_on(machine: Connection) -> None:
    # The kernel loads the module when somebody opens the device.
    machine.run(["modprobe", "kvm_amd"])
    machine.run(["mv", "/dev/kvm", "/dev/away"])
    missing = {"accelerator": "tcg", "reason": "/dev/kvm cannot be opened (No such file or directory)"}
    assert asked(machine, "auto") == missing
    machine.run(["mv", "/dev/away", "/dev/kvm"])
    machine.run(["modprobe", "-r", "kvm_amd"])
    machine.run(["modprobe", "kvm_amd", "nested=0"])
    reason = (
        "nested virtualisation is switched off (/sys/module/kvm_amd/parameters/nested); "
        "loaded with nested=1, kvm_amd has it"
    )
    assert asked(machine, "auto") == {"accelerator": "tcg", "reason": reason}
    assert reason in asked(machine, "kvm")["refused"]
    machine.run(["modprobe", "-r", "kvm_amd"])


@pytest.mark.lab
def test_in_an_emulated_machine_kvm_runs_a_machine_that_runs_a_guest(machine: Connection) -> None:
    """Three machines within each other, which takes a quarter of an hour.

    What the translator makes of that is not always right: now and then a machine hangs or resets, and then
    that is the answer.
    """
    machine.run(["modprobe", "kvm_amd", "nested=1"])
    for _ in range(NESTED_TRIES):
        answer = asked(machine, "auto")
        if answer["accelerator"] == "kvm":
            break
        assert answer["reason"].startswith(("no guest starts in a machine under", "no machine starts under"))
    assert answer == {"accelerator": "kvm", "reason": acceleration.WORKS}
