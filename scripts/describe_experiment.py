"""Write down the experiment's description, which the analysis and its repetition elsewhere need."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from hvcost import files, program
from hvcost.model import description


def main() -> int:
    """Run the program; its exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiment", type=json.loads, required=True, help="the description, JSON")
    parser.add_argument("--output", type=Path, required=True, metavar="JSON")
    parser.add_argument("--log", type=Path, help="file for the messages, beside standard error")
    arguments = parser.parse_args()

    def work() -> None:
        files.write_text(arguments.output, description.as_text(arguments.experiment))

    return program.run(work, arguments.log)


if __name__ == "__main__":
    sys.exit(main())
