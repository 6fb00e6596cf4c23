"""Stands for any program in workflow tests: writes the outputs at once, notes when it ran."""

import argparse
import json
import os
import sys
import time
from pathlib import Path

BUILDS = ("build_guest_image", "build_host_image")
MEETING_S = 120.0
IMAGE_BYTES = 2_000_000  # more than what Snakemake compares by content


def main() -> None:
    name = Path(__file__).stem
    parser = argparse.ArgumentParser()
    for option in ("guest", "environment", "environments", "session", "plan", "state", "host"):
        parser.add_argument(f"--{option}")
    for option in ("host-image", "packages", "measurements", "log", "experiment", "results", "seed", "boots"):
        parser.add_argument(f"--{option}")
    for option in ("repetitions", "needed", "tools"):
        parser.add_argument(f"--{option}")
    parser.add_argument("--raw", type=Path)
    parser.add_argument("--workloads", nargs="+")
    parser.add_argument("--statistics", nargs="+")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--comparisons", type=Path)
    parser.add_argument("--claims", type=Path)
    parser.add_argument("--output-dir", type=Path)
    parser.add_argument("inputs", nargs="*")
    arguments = parser.parse_args()

    started_s = time.time()
    about = ""
    if name in BUILDS:
        Path(f"{name}-is-running").touch()
        deadline_s = time.monotonic() + MEETING_S
        while Path("builds-meet").exists() and not all(
            Path(f"{each}-is-running").exists() for each in BUILDS
        ):
            if time.monotonic() > deadline_s:
                sys.exit(f"{name} runs alone")
            time.sleep(0.05)
        qemu = arguments.output / "emulator/usr/bin/qemu-system-x86_64"
        qemu.parent.mkdir(parents=True, exist_ok=True)
        qemu.touch()
        for image in ("disk.qcow2", "vmlinuz", "vmlinux", "initrd.img", "xen", "id_ed25519", "known_hosts"):
            (arguments.output / image).write_bytes(bytes(IMAGE_BYTES))
        (arguments.output / "manifest.json").write_text(f"{name} {arguments.guest}")
    elif name == "prepare_host":
        about = json.loads(arguments.environment)["environment"]
        if Path("preparation-fails").exists():
            sys.exit("the preparation failed")
        decided = {"accelerator": Path("accelerator").read_text(), "reason": "seen"}
        content = {"acceleration": decided, "prepared_at": started_s}
        arguments.output.write_text(json.dumps(content))
    elif name == "measure_session":
        session = json.loads(arguments.session)
        about = " ".join(str(session[key]) for key in ("environment", "system", "boot"))
        played = json.loads(Path(arguments.host).read_text())["acceleration"]
        facts = {"emulator": played, "started_at": started_s}
        (arguments.output_dir / "session.json").write_text(json.dumps({"facts": facts, "spec": session}))
        for workload in session["workloads"]:
            for repetition in range(1, session["repetitions"] + 1):
                raw = arguments.output_dir / f"{workload}-{repetition}.json"
                raw.write_text(f"{arguments.session} at {started_s}\n")
        time.sleep(float(Path("session-takes-s").read_text()))
        failing = Path("session-fails")
        if failing.exists() and failing.read_text() in ("", session["system"]):
            log = Path(arguments.log)
            log.parent.mkdir(parents=True, exist_ok=True)
            log.write_text("2026-11-23 10:00:01,000 ERROR hvcost.program: host: no guest gets up\n")
            sys.exit("the session failed")
    elif name == "parse_repetitions":
        raw = sorted(arguments.raw.glob("boot*/*.json"))
        arguments.output.write_text("".join(file.read_text() for file in raw))
    elif name == "describe_experiment":
        arguments.output.write_text(arguments.experiment)
    elif name.startswith("plot_"):
        arguments.output.mkdir(parents=True)
        (arguments.output / "figure.svg").write_text("".join(arguments.inputs))
    elif name == "compare_systems":
        arguments.comparisons.write_text("".join(Path(file).read_text() for file in arguments.inputs))
        arguments.claims.write_text(Path(arguments.experiment).read_text())
    else:
        arguments.output.write_text("".join(Path(file).read_text() for file in arguments.inputs))
    with Path("ran.jsonl").open("a") as ran:
        entry = {
            "job": f"{name} {about}".strip(),
            "python": sys.executable,
            "node": os.environ.get("SLURMD_NODENAME"),
            "from_s": started_s,
            "to_s": time.time(),
        }
        ran.write(json.dumps(entry) + "\n")


if __name__ == "__main__":
    main()
