# The experiment, and the functions by which rules ask for their part of it.
import os
import shutil
import sys
import time
from functools import partial
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger
from snakemake.settings.types import DeploymentMethod

# As a module it would lack its programs, and the plan that is written when a run starts: Snakemake leaves that to
# the Snakefile that it was started with.
if not workflow.modifier.is_main_snakefile():
    raise WorkflowError(
        "hvcost is not a module for another Snakefile, as `snakedeploy deploy-workflow` writes one: "
        "clone its repository, and run snakemake there"
    )

sys.path.insert(0, f"{workflow.basedir}/scripts")

from hvcost.machines import locks, user_namespace
from hvcost.errors import HvcostError
from hvcost.model import record
from hvcost.planning import config as configuration
from hvcost.planning import experiment as experiments
from hvcost.planning import outcome, pace, plan, run
from hvcost.planning.sources import sources_of

# Images are shared by all experiments, and so is what was seen of this computer.
PACE = f"results/{pace.FILE}"
GUEST = "results/guest/manifest.json"
HOST_IMAGE = expand(
    "results/host-image/{file}",
    file=[
        "manifest.json",
        "disk.qcow2",
        "vmlinux",
        "initrd.img",
        "xen",
        "id_ed25519",
        "known_hosts",
        "emulator/usr/bin/qemu-system-x86_64",
    ],
)
# Images before hosts before sessions: only then are all sessions ready for their random order.
BUILD_PRIORITY = 2_000_000
PREPARE_PRIORITY = 1_000_000
# A computer as a resource.
WHOLE = 2


def checked(function, *arguments):
    """Result of a function of the package; its complaint as Snakemake prints complaints."""
    try:
        return function(*arguments)
    except HvcostError as error:
        raise WorkflowError(str(error)) from None
    except OSError as error:
        raise WorkflowError(f"this computer: {error}") from None


if not Path("scripts/hvcost").is_dir():
    raise WorkflowError(
        f"{Path.cwd()} has no scripts/hvcost: run snakemake in the project's folder, "
        "or in a folder with links to scripts/ and envs/ of the project"
    )


def forget_killed_run():
    """Remove Snakemake's own lock, which outlives a run that was killed."""
    if workflow.is_main_process:
        shutil.rmtree(".snakemake/locks", ignore_errors=True)


# Held by whoever runs the workflow in this folder, and given back by the kernel: the same command goes on.
RUNNING = locks.joined(Path(".snakemake/hvcost.lock"), forget_killed_run)
# When the run began, Unix time; what it starts on the nodes of a cluster inherits that.
STARTED_S = float(os.environ.setdefault("HVCOST_STARTED_S", str(time.time())))
EXPERIMENT = checked(
    configuration.experiment, config, Path(workflow.basedir, "config/schema.yaml")
)
checked(run.check_folder, EXPERIMENT, Path())
RESULTS = EXPERIMENT.results
LOGS = RESULTS.replace("results", "logs", 1)
PLAN = f"{RESULTS}/plan.json"
SESSIONS = plan.sessions(EXPERIMENT)
SESSION_PRIORITIES = {
    session: len(SESSIONS) - index for index, session in enumerate(SESSIONS)
}
SESSION_FILES = [
    record.SESSION_FILE,
    *record.planned_files(EXPERIMENT.workloads, EXPERIMENT.repetitions),
]
COMPUTERS = {experiments.THIS_COMPUTER}.union(
    *(environment.computers for environment in EXPERIMENT.environments.values())
)

ALL_MACHINES = experiments.as_json(
    [EXPERIMENT.machines_spec(env) for env in EXPERIMENT.environments]
)

# Programs end when the workflow does, and run on its Python unless an environment of conda was asked for.
environment_variables = {user_namespace.WORKFLOW: os.getpid()}
if DeploymentMethod.CONDA not in workflow.deployment_settings.deployment_method:
    environment_variables["PATH"] = f'"{Path(sys.executable).parent}:$PATH"'
shell.prefix(
    f"export {' '.join(f'{name}={value}' for name, value in environment_variables.items())}; "
)


# On a cluster each node is a computer, which a session has to itself; its programs take turns by a lock.
resource_scopes:
    this_computer="local",


wildcard_constraints:
    env="[a-z][a-z0-9-]*",
    system="[a-z][a-z0-9-]*",
    boot="[1-9][0-9]*",


# Two jobs that measure, or a measurement and anything else, never share a computer: a measurement wants
# all of it, a build half of it.
for computer in COMPUTERS:
    workflow.register_resource(computer, WHOLE)


def result(path):
    """A path in the folder of the experiment's results."""
    return f"{RESULTS}/{path}"


def results_folder(wildcards):
    """That folder, for programs that find their way in it."""
    return RESULTS


def logged(path):
    """A path in the folder of the experiment's logs."""
    return f"{LOGS}/{path}"


def environment(wildcards):
    return checked(EXPERIMENT.environment, wildcards.env)


def busy(computer):
    """Whether a job of an environment keeps `computer` busy, as a Snakemake resource."""
    return lambda wildcards: WHOLE * (computer in environment(wildcards).computers)


def session_spec(wildcards):
    arguments = (wildcards.env, wildcards.system, int(wildcards.boot))
    return experiments.as_json(checked(EXPERIMENT.session_spec, *arguments))


def session_priority(wildcards):
    session = plan.Session(wildcards.env, wildcards.system, int(wildcards.boot))
    return SESSION_PRIORITIES.get(session, 0)


def node_of_block(wildcards, attempt):
    """What Slurm is told of a block's node: that it is the block's alone, and which it must not be.

    What failed is tried again on another node, and then on any, since there may be no other.
    """
    if attempt % 2 == 1:
        return "--exclusive"
    block = (wildcards.env, int(wildcards.boot))
    failed = checked(outcome.failed_on, Path(LOGS), *block, STARTED_S)
    return f"--exclusive --exclude={','.join(failed)}" if failed else "--exclusive"


def keep_going_on_node():
    """Let a system that fails keep none of the others of its block from being measured.

    A block's job does not know the profile that says so, and has no settings yet when it reads this file.
    """
    if workflow.remote_exec:
        workflow.execution_settings.keep_going = True


def session_host(wildcards):
    """The prepared host: a session that was measured before is not measured again for its sake.

    Unless the host is now played in another way, so that the session cannot be compared with later ones.

    `ancient` alone would not do. When Snakemake runs a job, it looks at no other reason to run the
    jobs behind it, so that a change of their own is overlooked; and it runs all of them if the
    file is missing. `before_update` takes the job that makes the file out of sight; that a host is
    prepared before a session is then seen to by priorities and by the computers they both keep busy.
    """
    keep_going_on_node()
    host = f"{RESULTS}/{wildcards.env}/host.json"
    folder = Path(
        f"{RESULTS}/{wildcards.env}/raw/{wildcards.system}/boot{wildcards.boot}"
    )
    if not all((folder / file).is_file() for file in SESSION_FILES):
        return host
    if f"{wildcards.system}/boot{wildcards.boot}" in OTHERWISE[wildcards.env]:
        return host
    if not Path(host).is_file():
        # Snakemake then takes the raw files as they are; see the warning below.
        raise WorkflowError(f"{host} is missing")
    return ancient(before_update(host))


OTHERWISE = run.played_otherwise(EXPERIMENT, Path(RESULTS))
for warning in run.warnings(EXPERIMENT, Path(RESULTS), OTHERWISE):
    logger.warning(warning)


def session_guest(wildcards):
    """The guest of a session; not every system has one."""
    system = checked(EXPERIMENT.system, wildcards.env, wildcards.system)
    return GUEST if system.has_guest else []


def prepared_guest(wildcards):
    """The guest that a host is prepared for, if a system has one of ours."""
    return GUEST if checked(EXPERIMENT.has_guest, wildcards.env) else []


def prepared_guest_option(wildcards):
    manifest = prepared_guest(wildcards)
    return f"--guest {manifest}" if manifest else ""


def host_image_manifest(wildcards):
    return HOST_IMAGE[0] if environment(wildcards).is_emulated else []


def host_image_option(wildcards):
    manifest = host_image_manifest(wildcards)
    return f"--host-image {manifest}" if manifest else ""


def preparation_spec(wildcards):
    return experiments.as_json(checked(EXPERIMENT.preparation_spec, wildcards.env))


def figure_spec(wildcards):
    return experiments.as_json(checked(EXPERIMENT.figure_spec, wildcards.env))


def raw_files(wildcards):
    """Raw files of a system in an environment."""
    checked(EXPERIMENT.system, wildcards.env, wildcards.system)
    return expand(
        result("{env}/raw/{system}/boot{boot}/{file}"),
        env=wildcards.env,
        system=wildcards.system,
        boot=range(1, EXPERIMENT.boots + 1),
        file=SESSION_FILES,
    )


def all_raw_files(wildcards):
    """Raw files of the experiment."""
    return [
        f"{RESULTS}/{session.environment}/raw/{session.system}/boot{session.boot}/{file}"
        for session in SESSIONS
        for file in SESSION_FILES
    ]


def tables(wildcards):
    """The tables of all systems of an environment."""
    return expand(
        result("{env}/measurements/{system}.csv"),
        env=wildcards.env,
        system=environment(wildcards).systems,
    )


def sources(program):
    """Files that decide what a program of scripts/ makes, so that its rule is run again when they change."""
    return sources_of(Path("scripts", f"{program}.py"))


def files_of(image):
    """Files of the package that go into an image."""
    return sorted(map(str, Path("scripts/hvcost/images/files", image).iterdir()))


DESCRIPTION = result("experiment.json")


def say(text):
    """Print what a run says, if it says anything."""
    if text:
        print(text, file=sys.stderr, flush=True)


onstart:
    # Snakemake would look for jobs once a second, and once more for each that has ended, so as to start no more than
    # 100 in a second: after some hundred, that takes a good part of the processor that is measured.
    if workflow.local_exec:
        workflow.scheduler.job_rate_limiter = None
    jobs = [
        run.Job(job.rule.name, job.wildcards_dict)
        for job in workflow.dag.needrun_jobs()
        if not job.rule.norun
    ]
    text, watch = checked(
        partial(run.at_start, is_here=workflow.local_exec),
        EXPERIMENT,
        jobs,
        workflow.cores,
        Path(PLAN),
        Path(PACE),
    )
    say(text)
    if watch:
        logger.addHandler(watch)


onsuccess:
    say(run.at_end(Path(PLAN), Path(RESULTS), Path(LOGS), STARTED_S))


onerror:
    say(run.at_end(Path(PLAN), Path(RESULTS), Path(LOGS), STARTED_S))
