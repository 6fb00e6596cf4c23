"""What the slow tests share, since it takes minutes: built images, and experiments that were measured."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import ordinary
import pytest
from hvcost.environments import network
from hvcost.machines.local import LocalConnection
from hvcost.machines.shell import Shell
from hypothesis import HealthCheck, settings
from workspace import ROOT, Workspace
from xdist.scheduler.loadscope import LoadScopeScheduling  # type: ignore[import-untyped]

# Names the folder of images that all processes of these tests build once.
IMAGES = "HVCOST_TESTS_IMAGES"


def pytest_configure(config: pytest.Config) -> None:
    """Let Ctrl-C be heard as in a terminal, also in the background; let no property fail for being slow.

    Who ends the tests by SIGTERM, as timeout(1) does, wants them to clean up as well.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    settings.register_profile("any computer", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("any computer")
    if not hasattr(config, "workerinput"):
        os.environ[IMAGES] = tempfile.mkdtemp(prefix="hvcost-tests-images-")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove some gigabytes."""
    if not hasattr(config, "workerinput"):
        shutil.rmtree(os.environ.pop(IMAGES))


# They share images, machines and a measured experiment, which take minutes to make.
MACHINES = ("test_end_to_end.py", "test_hypervisor_contract.py")
# They boot guests or machines of their own, and wait for images that others build.
BOOTING = (
    *MACHINES,
    "test_acceleration_machines.py",
    "test_local_experiment.py",
    "test_guest_faults.py",
    "test_lab.py",
)
# What takes longest is begun first, so that all processes end at about the same time.
LONG = (
    *BOOTING,
    "test_workflow_faults.py",
    "test_shaky.py",
    "test_slurm.py",
    "test_workflow.py",
    "test_pairs.py",
)


class ByFile(LoadScopeScheduling):  # type: ignore[misc]
    """A file is run by one process; those that share machines by the same one."""

    def _split_scope(self, nodeid: str) -> str:
        file = Path(nodeid.partition("::")[0]).name
        return "machines" if file in MACHINES else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    """How pytest-xdist distributes tests."""
    return ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest; what boots is watched by nothing but its own deadlines."""
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))
    for item in items:
        if item.path.name in BOOTING:
            item.add_marker(pytest.mark.timeout(0))


@pytest.fixture
def machine() -> Iterator[LocalConnection]:
    """A namespace of this computer with nothing but its loopback."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    computer = LocalConnection("this computer")
    with network.namespace(computer, f"hvcost-test-{uuid.uuid4().hex[:8]}") as name:
        yield LocalConnection("lab host", computer.journal, name)


@pytest.fixture
def shell(machine: LocalConnection) -> Iterator[Shell]:
    """A shell that stays on that machine."""
    with machine.shell() as shell:
        yield shell


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """A workspace without results: an ordinary user's, also where an administrator runs the tests."""
    with ExitStack() as stack:
        if ordinary.IS_ADMINISTRATOR:
            user = stack.enter_context(ordinary.made([ROOT]))
            checkout = user.workspace("workspace")
            images = os.environ[IMAGES]
            shutil.chown(images, ordinary.UID, ordinary.UID)
            checkout = replace(checkout, within=(*checkout.within, "env", f"XDG_CACHE_HOME={images}"))
        else:
            checkout = Workspace(tmp_path_factory.mktemp("workspace"))
        checkout.link_project()
        yield checkout
        # Some hundred MB that pytest would keep for three runs.
        shutil.rmtree(checkout.folder / "results", ignore_errors=True)


@pytest.fixture(scope="session")
def with_guest(checkout: Workspace) -> Workspace:
    """A workspace with the guest's image."""
    checkout.run("results/guest/manifest.json", "--configfile", "config/local.yaml")
    return checkout


@pytest.fixture(scope="session")
def workspace(checkout: Workspace) -> Workspace:
    """A workspace with both images, which are built at the same time."""
    images = [f"results/{image}/manifest.json" for image in ("guest", "host-image")]
    checkout.run(*images, "--configfile", "config/quick.yaml")
    return checkout


@pytest.fixture(scope="session")
def emulated(workspace: Workspace) -> Workspace:
    """The workspace with config/quick.yaml measured."""
    workspace = replace(workspace, results="results/quick")
    quick = ("--configfile", "config/quick.yaml")
    workspace.run("all", *quick)
    # Under translation VirtualBox's guest is lost now and then: a result, and not what is tested here.
    if any(one.status == "failed" for one in workspace.records("quick", "virtualbox")):
        workspace.run("results/quick/quick/measurements/virtualbox.csv", "-R", "measure_session", *quick)
        workspace.run("all", *quick)
    return workspace
