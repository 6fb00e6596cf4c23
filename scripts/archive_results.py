"""Make one archive of results, to deposit and to cite, which is analysed again with nothing but Python.

    python scripts/archive_results.py results

It is an RO-Crate: the raw files, what this software makes of them, and this software. Tables, figures and the
report are made for the archive from its raw files alone; those of the folder that are not the same are named.
What else is in the folder, such as images and their keys, stays out. The same folder gives the same archive.
"""

from __future__ import annotations

import json
import logging
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

import reanalyse
import yaml
from hvcost import files, program
from hvcost.errors import ConfigError
from hvcost.machines import provenance
from hvcost.machines.base import sha256_of
from hvcost.model import description, record
from hvcost.model.description import Description
from hvcost.planning import config
from hvcost.planning.sources import sources_of
from hvcost.report import crate, inputs
from hvcost.wording import counted, listed

log = logging.getLogger(__name__)

ROOT = Path(__file__).parents[1]
SUMS = "manifest-sha256.txt"
IMAGES = ("guest/manifest.json", "host-image/manifest.json")
SECRET = b"PRIVATE KEY-----"
EXAMPLES = 3


def archive(results: Path, output: Path | None) -> None:
    """Make the archive of a folder of results; ConfigError or ParseError say why there is none."""
    output = output or Path(f"{results.resolve()}.zip")
    if output.suffix != ".zip":
        raise ConfigError(f"--output: {output} is not allowed; allowed: a name that ends in .zip")
    source = results / "experiment.json"
    experiment = description.load(source)
    inputs.check_names(experiment, str(source))
    with tempfile.TemporaryDirectory(prefix="hvcost-archive-") as temporary:
        folder = Path(temporary)
        made = folder / "results"
        configurations = configurations_of(experiment)
        for file in _project(configurations):
            _copy(ROOT / file, folder / file)
        for name, source_file in _measured(results, experiment).items():
            _copy(source_file, made / name)
        reanalyse.reanalyse(made)
        _name_what_is_new(results, made)
        found = inputs.read(made / "experiment.json", made)
        commit = str(provenance.of_this_software()["commit"])
        crate.describe(folder, found, commit, configurations, SUMS)
        files.write_text(folder / SUMS, "".join(f"{digest}  {name}\n" for name, digest in _digests(folder)))
        _pack(folder, output, crate.ended(found))
    said, lack = crate.outcome(found)
    log.info("%s", said)
    if lack:
        log.warning("%s", lack)
    log.info("%s: %.1f MB, SHA-256 %s", output, output.stat().st_size / 1e6, sha256_of(output))


def _project(configurations: Iterable[str]) -> set[str]:
    """Files of this software: what git knows, and in any case all that the analysis takes."""
    analysis = (str(Path(file).relative_to(ROOT)) for file in sources_of(ROOT / "scripts/reanalyse.py"))
    return {*provenance.files_of_this_software(), *analysis, *configurations}


def _measured(results: Path, experiment: Description) -> dict[Path, Path]:
    """Files that nothing makes again, by their names in the archive; ConfigError if one holds a key."""
    raw = set(experiment.all_found_in(results))
    reanalyse.name_others(results, raw)
    sessions = {file.with_name(record.SESSION_FILE) for file in raw}
    hosts = {results / environment.id / "host.json" for environment in experiment.environments}
    own = raw | hosts | sessions | {results / "experiment.json"}
    named = {file.relative_to(results): file for file in sorted(own)}
    # All experiments share the images, which are in the default's folder; in an archive they are beside.
    for place in (results.parent, results):
        named |= {Path(image): place / image for image in IMAGES if (place / image).is_file()}
    found = {name: file for name, file in named.items() if file.is_file()}
    for file in found.values():
        if SECRET in file.read_bytes():
            raise ConfigError(f"{file}: holds a private key; nothing is archived")
    return found


def configurations_of(experiment: Description) -> list[str]:
    """Files of config/ that describe this very experiment; a key on the command line makes it another."""
    schema = ROOT / "config/schema.yaml"
    found = []
    for path in sorted((ROOT / "config").rglob("*.yaml")):
        try:
            text = description.as_text(config.read(path, schema).description())
        except (ConfigError, yaml.YAMLError):
            continue
        if json.loads(text) == experiment.content:
            found.append(str(path.relative_to(ROOT)))
    said = listed(found) or "experiment.json alone, with all defaults; no file of config/ says the same"
    log.info("configuration: %s", said)
    return found


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)


def _name_what_is_new(results: Path, made: Path) -> None:
    names = [path.relative_to(made) for path in sorted(made.rglob("*")) if path.is_file()]
    other = [name for name in names if not _is_same(results / name, made / name)]
    if other:
        log.warning(
            "%s of the archive, such as %s, %s as in %s: this version made them of the raw files",
            counted(len(other), "file"),
            listed(other[:EXAMPLES]),
            "is not" if len(other) == 1 else "are not",
            results,
        )


def _is_same(one: Path, other: Path) -> bool:
    return one.is_file() and one.read_bytes() == other.read_bytes()


def _files(folder: Path) -> list[tuple[str, Path]]:
    """All files of a folder by name, in the order of their names."""
    return sorted((path.relative_to(folder).as_posix(), path) for path in folder.rglob("*") if path.is_file())


def _digests(folder: Path) -> Iterator[tuple[str, str]]:
    return ((name, sha256_of(path)) for name, path in _files(folder))


def _pack(folder: Path, output: Path, time: datetime) -> None:
    """Write a folder to an archive that depends on nothing but names, contents and `time`.

    Folders have entries of their own: validators look for those that the description names.
    """
    with files.replaced(output) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as packed:
        folders = [(f"{path.relative_to(folder).as_posix()}/", path) for path in folder.rglob("*/")]
        for name, path in sorted([*folders, *_files(folder)]):
            entry = zipfile.ZipInfo(name, time.timetuple()[:6])
            if entry.is_dir():
                entry.external_attr = (stat.S_IFDIR | 0o755) << 16
                packed.writestr(entry, b"")
                continue
            is_program = path.stat().st_mode & stat.S_IXUSR
            entry.external_attr = (stat.S_IFREG | (0o755 if is_program else 0o644)) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            packed.writestr(entry, path.read_bytes())


if __name__ == "__main__":
    program.main(
        archive,
        __doc__,
        program.argument("results", type=Path, metavar="FOLDER"),
        program.argument("--output", type=Path, default=None, metavar="ZIP", help="default: FOLDER.zip"),
    )
