"""Stands for all other programs in workflow tests: writes the outputs at once, notes when it ran."""

import argparse
import json
import os
import sys
import time
from pathlib import Path

BUILDS = ("build_guest_image", "build_host_image")
MEETING_S = 120.0
IMAGE_BYTES = 2_000_000  # more than what Snakemake compares by content


def threads_of_workflow() -> int:
    """How many threads the workflow has, 0 if it is not on this computer."""
    tasks = Path("/proc", os.environ["HVCOST_WORKFLOW"], "task")
    return len(list(tasks.iterdir())) if tasks.is_dir() else 0


def main() -> None:
    name = Path(__file__).stem
    parser = argparse.ArgumentParser()
    for option in ("guest", "environment", "environments", "state", "host"):
        parser.add_argument(f"--{option}")
    for option in ("host-image", "packages", "log", "experiment", "results", "seed", "boots"):
        parser.add_argument(f"--{option}")
    for option in ("repetitions", "needed", "tools", "pace", "disk-gib"):
        parser.add_argument(f"--{option}")
    parser.add_argument("--raw", type=Path)
    parser.add_argument("--workloads", nargs="+")
    parser.add_argument("--output", type=Path)
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
        (arguments.output / "manifest.json").write_text(name)
    elif name == "prepare_host":
        about = json.loads(arguments.environment)["environment"]
        if Path("preparation-fails").exists():
            sys.exit("the preparation failed")
        decided = {"accelerator": Path("accelerator").read_text(), "reason": "seen"}
        content = {"acceleration": decided, "prepared_at": started_s}
        arguments.output.write_text(json.dumps(content))
    elif name == "parse_repetitions":
        raw = sorted(arguments.raw.glob("boot*/*.json"))
        arguments.output.write_text("".join(file.read_text() for file in raw))
    elif name == "describe_experiment":
        arguments.output.write_text(arguments.experiment)
    elif name == "analyse_environment":
        rows = "".join(Path(file).read_text() for file in arguments.inputs)
        _analysis(arguments.output, ("measurements.csv", "statistics.csv"), rows)
    else:
        tables = sorted(Path(arguments.results).glob("*/measurements.csv"))
        rows = "".join(file.read_text() for file in tables)
        _analysis(arguments.output.parent, ("comparisons.csv", "claims.csv", "report.html"), rows)
    with Path("ran.jsonl").open("a") as ran:
        entry = {
            "job": f"{name} {about}".strip(),
            "python": sys.executable,
            "node": os.environ.get("SLURMD_NODENAME"),
            "threads": threads_of_workflow(),
            "from_s": started_s,
            "to_s": time.time(),
        }
        ran.write(json.dumps(entry) + "\n")


def _analysis(folder: Path, files: tuple[str, ...], rows: str) -> None:
    for file in files:
        (folder / file).write_text(rows)
    (folder / "figures").mkdir()
    (folder / "figures/figure.svg").write_text(rows)


if __name__ == "__main__":
    main()
