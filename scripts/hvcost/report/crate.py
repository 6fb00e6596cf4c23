"""The results described for programs that catalogue them: what the page is for people.

An RO-Crate is a folder with a file, ro-crate-metadata.json, that says what the others are
(https://w3id.org/ro/crate/1.1). This one is a Workflow Run Crate (https://w3id.org/ro/wfrun/workflow/0.5): a
workflow, and a run of it with what went in and what came of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from rocrate.model.contextentity import ContextEntity
from rocrate.rocrate import ROCrate

from hvcost.report import page, words
from hvcost.report.inputs import Results
from hvcost.wording import counted

WORKFLOW = "Snakefile"
CITATION = "CITATION.cff"
# What else of the project is described.
PROJECT = {
    "rules": "Rules of the workflow, which the Snakefile includes",
    "scripts": "Programs that the rules run; reanalyse.py makes tables, figures and report again",
    "config": "Configurations of experiments, and the schema of their keys",
    "envs": "Lists of the packages that machines need",
    "profiles": "Settings of Snakemake",
    "docs": "Documentation",
    "pyproject.toml": "Versions of the Python packages that are needed",
    "requirements.lock": "All Python packages that are needed, pinned with hashes",
    CITATION: "How the software is cited",
    "LICENSE": "Licence",
    "README.md": "What hvcost is and how it is used",
}
PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": "Workflow RO-Crate",
}
# What goes into the workflow (the configuration) and comes of it, with the kind of each.
CONFIGURATION = "configuration"
PARAMETERS = {
    CONFIGURATION: "File",
    "host": "File",
    "image": "File",
    "raw": "Dataset",
    "table": "File",
    "figures": "Dataset",
    "report": "File",
}
COMPLETED = "http://schema.org/CompletedActionStatus"
FAILED = "http://schema.org/FailedActionStatus"
MACHINES = ("controller", "host", "client", "guest")
FORMATS = {
    ".cff": "application/yaml",
    ".csv": "text/csv",
    ".html": "text/html",
    ".json": "application/json",
    ".md": "text/markdown",
    ".toml": "application/toml",
    ".yaml": "application/yaml",
}


@dataclass(frozen=True)
class Part:
    """A file or folder of the results that may be there. `path`: from their folder."""

    path: str
    parameter: str
    text: str


@dataclass(frozen=True)
class Software:
    """The software that the archive is made with; `authors` as CITATION.cff has them."""

    version: str
    commit: str
    authors: tuple[Mapping[str, str], ...]
    licence: str


def describe(folder: Path, results: Results, commit: str, configurations: Sequence[str], sums: str) -> None:
    """Write the description of a folder that holds the project and, in results/, `results`.

    `configurations`: files, from the folder, that describe the experiment. `sums`: name of the file with the
    checksums, which is still to be written. The same folder has the same description.
    """
    software = _software(folder / CITATION, commit)
    crate = _Crate(folder)
    authors = _one_or_several([crate.author(author) for author in software.authors])
    licence = crate.entity(
        f"https://spdx.org/licenses/{software.licence}", "CreativeWork", name=software.licence
    )
    inputs, outputs = _data(crate, results, configurations)
    workflow = _workflow(crate, results, software)
    run = _run(crate, results, commit)
    run["instrument"] = workflow
    run["object"], run["result"] = _one_or_several(inputs), _one_or_several(outputs)
    workflow["input"] = _one_or_several(_parameters(inputs))
    workflow["output"] = _one_or_several(_parameters(outputs))
    for path, text in PROJECT.items():
        crate.data(path, text)
    workflow["hasPart"] = [crate.library.get("rules/"), crate.library.get("scripts/")]
    workflow["author"], workflow["license"] = authors, licence
    crate.file(sums, f"SHA-256 of all other files: sha256sum --check {sums}")

    root = crate.library.root_dataset
    root["name"], root["description"] = _name(results), _description(results)
    # Nobody knows yet when it is published; this day is the same whenever the archive is made.
    root["datePublished"] = ended(results).date().isoformat()
    root["license"], root["author"] = licence, authors
    root["mentions"] = [run, *_machines(crate, results)]
    root["conformsTo"] = [
        crate.entity(uri, "CreativeWork", name=name, version=uri.rpartition("/")[2])
        for uri, name in PROFILES.items()
    ]
    crate.library.get("README.md")["about"] = root
    crate.library.metadata.write(folder)


def _parts(results: Results) -> Iterator[Part]:
    """What the results consist of, as far as it is there."""
    yield Part("experiment.json", CONFIGURATION, "What was planned, compared and claimed, with all defaults")
    for image, owner in (("guest", "the guests"), ("host-image", "the emulated hosts")):
        text = f"Image of {owner}, which is not in the archive: its packages, sizes and SHA-256 of its files"
        yield Part(f"{image}/manifest.json", "image", text)
    for place in results.places:
        own, title = place.environment.id, place.environment.title
        yield Part(f"{own}/host.json", "host", f"Host of {title}, and what was changed on it")
        for system in place.environment.hypervisors:
            text = f"Output of all processes, facts and clocks: {words.name(system)} in {title}"
            yield Part(f"{own}/raw/{system}", "raw", text)
        yield Part(f"{own}/measurements.csv", "table", f"Every figure of every repetition in {title}")
        yield Part(f"{own}/statistics.csv", "table", f"Intervals, ratios and diagnostics of {title}")
        yield Part(f"{own}/figures", "figures", f"Figures of {title}")
    yield Part("comparisons.csv", "table", "Every pair, compared")
    yield Part("claims.csv", "table", "Claims, supported, refuted or inconclusive")
    yield Part("figures", "figures", "Figures of all environments")
    yield Part("report.html", "report", "Report: the answer on one page")


def outcome(results: Results) -> tuple[str, str]:
    """How much of the plan was measured, and what is missing of it: empty if the plan was carried out."""
    every = [
        (place.environment.id, each)
        for place in results.places
        for each in page.progress(place, results.experiment.repetitions)
    ]
    planned, ok, failed = (
        sum(getattr(each, number) for _, each in every) for number in ("planned", "ok", "failed")
    )
    said = f"Of {counted(planned, 'planned repetition')}, {ok} are ok and {failed} failed."
    missing = [
        f"{each.missing} of {counted(each.planned, 'repetition')} of {each.system} in {environment}"
        for environment, each in every
        if each.missing
    ]
    if missing:
        return said, f"The experiment is incomplete. Not measured: {'; '.join(missing)}."
    return said, "" if ok else "The experiment failed: no repetition has a value."


def ended(results: Results) -> datetime:
    """When the last repetition was started, UTC."""
    return max(_started(results))


def _started(results: Results) -> list[datetime]:
    return [
        datetime.fromisoformat(each.started_at).astimezone(UTC)
        for place in results.places
        for each in place.repetitions
    ]


def _software(citation: Path, commit: str) -> Software:
    said = yaml.safe_load(citation.read_text(encoding="utf-8"))
    return Software(said["version"], commit, tuple(said["authors"]), said["license"])


class _Crate:
    """The library's crate of a folder, and what entities of a kind have in common."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.library = ROCrate(version="1.1")

    def entity(self, id: str, kind: str, **properties: str | Mapping[str, str]) -> Any:
        """Something that is no file."""
        return self.library.add(ContextEntity(self.library, id, properties={"@type": kind, **properties}))

    def parameter(self, name: str) -> Any:
        """A parameter of the workflow, of which files and folders are examples."""
        profile = "https://bioschemas.org/profiles/FormalParameter/1.0-RELEASE"
        return self.library.get(f"#{name}") or self.entity(
            f"#{name}",
            "FormalParameter",
            name=name,
            additionalType=PARAMETERS[name],
            conformsTo={"@id": profile},
        )

    def author(self, author: Mapping[str, str]) -> Any:
        """A person, or whoever else, as CITATION.cff has them."""
        if "name" in author:
            return self.entity(f"#{author['name']}".replace(" ", "-"), "Organization", name=author["name"])
        name = f"{author['given-names']} {author['family-names']}"
        return self.entity(author.get("orcid", f"#{name}".replace(" ", "-")), "Person", name=name)

    def file(self, path: str, text: str) -> Any:
        """A file, also one that is still to be written."""
        source = self.folder / path
        about = {"name": path, "description": text}
        about["encodingFormat"] = FORMATS.get(source.suffix, "text/plain")
        if source.is_file():
            about["contentSize"] = str(source.stat().st_size)
        return self.library.add_file(source, path, properties=about)

    def data(self, path: str, text: str) -> Any:
        """A file or folder; None if it is not there."""
        source = self.folder / path
        if source.is_dir():
            return self.library.add_dataset(source, path, properties={"name": path, "description": text})
        return self.file(path, text) if source.is_file() else None


def _data(crate: _Crate, results: Results, configurations: Sequence[str]) -> tuple[list[Any], list[Any]]:
    """What went into the run, and what came of it, each as an example of a parameter of the workflow."""
    written = [(path, CONFIGURATION, "The experiment's configuration as written") for path in configurations]
    every = [(f"results/{part.path}", part.parameter, part.text) for part in _parts(results)]
    inputs: list[Any] = []
    outputs: list[Any] = []
    for path, parameter, text in [*written, *every]:
        if entity := crate.data(path, text):
            entity["exampleOfWork"] = crate.parameter(parameter)
            (inputs if parameter == CONFIGURATION else outputs).append(entity)
    return inputs, outputs


def _one_or_several(entities: Sequence[Any]) -> Any:
    """What stands for these in JSON-LD: a list of one is to be that one."""
    return entities[0] if len(entities) == 1 else list(entities)


def _parameters(data: Sequence[Any]) -> list[Any]:
    """The parameters of which these are examples, each once."""
    found = {each["exampleOfWork"].id: each["exampleOfWork"] for each in data}
    return list(found.values())


def _workflow(crate: _Crate, results: Results, software: Software) -> Any:
    profile = "https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE"
    workflow = crate.library.add_workflow(
        crate.folder / WORKFLOW,
        WORKFLOW,
        main=True,
        lang="snakemake",
        lang_version=version("snakemake"),
        properties={
            "name": "hvcost",
            "description": "Measures how much network performance each hypervisor costs",
            "version": f"{software.version}, commit {software.commit}",
            "encodingFormat": "text/plain",
            "conformsTo": {"@id": profile},
        },
    )
    workflow["softwareRequirements"] = _one_or_several(list(_programs(crate, results)))
    return workflow


def _run(crate: _Crate, results: Results, commit: str) -> Any:
    said, lack = outcome(results)
    sessions = [session for place in results.places for session in place.sessions if session.record]
    measured = words.listed(page.commits(sessions))
    return crate.entity(
        "#run",
        "CreateAction",
        name="Measurement and analysis",
        description=f"{said} Measured by commit {measured} of hvcost, analysed by commit {commit}.",
        startTime=min(_started(results)).isoformat(timespec="seconds"),
        endTime=ended(results).isoformat(timespec="seconds"),
        actionStatus=FAILED if lack else COMPLETED,
        **({"error": lack} if lack else {}),
    )


def _name(results: Results) -> str:
    systems = dict.fromkeys(system for place in results.places for system in place.environment.hypervisors)
    return f"Network performance of {words.listed(list(map(words.name, systems)))}, measured by hvcost"


def _description(results: Results) -> str:
    contents = (
        "Raw files, tables, figures and report of an experiment, and the software that makes all but the raw "
        "files again (python scripts/reanalyse.py results)"
    )
    return " ".join(filter(None, (f"{contents}.", *outcome(results))))


def _machines(crate: _Crate, results: Results) -> Iterator[Any]:
    """The machines of all environments, with what the page says of them first: no names, no addresses."""
    for place in results.places:
        for machine in page.machines(place):
            if machine.name in MACHINES:
                yield crate.entity(
                    f"#{place.environment.id}-{machine.name}",
                    "IndividualProduct",
                    name=f"{machine.name} of {place.environment.title}",
                    description=machine.summary,
                )


def _programs(crate: _Crate, results: Results) -> Iterator[Any]:
    """Programs that took part, once for each of their versions, with where that was."""
    found: dict[tuple[str, str], list[str]] = {}
    for place in results.places:
        for machine in page.machines(place):
            for fact in machine.facts:
                program, is_version, _ = fact.name.partition(" version")
                for value, _sessions in fact.values if is_version else ():
                    found.setdefault((program, value), []).append(f"{machine.name} of {place.environment.id}")
    for number, ((program, value), where) in enumerate(sorted(found.items()), start=1):
        yield crate.entity(
            f"#{program}-{number}".replace(" ", "-"),
            "SoftwareApplication",
            name=program,
            softwareVersion=value,
            description=", ".join(where),
        )
