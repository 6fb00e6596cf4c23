"""What the slow tests share, since it takes minutes: built images, and experiments that were measured."""

from __future__ import annotations

import os
import shutil
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hvcost.environments import network
from hvcost.machines.local import LocalConnection
from hvcost.machines.shell import Shell
from hypothesis import HealthCheck, settings
from workspace import Workspace
from xdist.scheduler.loadscope import LoadScopeScheduling  # type: ignore[import-untyped]


def pytest_configure() -> None:
    """Let Ctrl-C be heard as in a terminal, also in the background; let no property fail for being slow.

    Who ends the tests by SIGTERM, as timeout(1) does, wants them to clean up as well.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    settings.register_profile("any computer", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("any computer")


# They share images and a measured experiment, which take minutes to make.
MACHINES = ("test_end_to_end.py", "test_hypervisor_contract.py", "test_acceleration_machines.py")


class ByFile(LoadScopeScheduling):  # type: ignore[misc]
    """A file is run by one process; those that boot machines by the same one."""

    def _split_scope(self, nodeid: str) -> str:
        file = Path(nodeid.partition("::")[0]).name
        return "machines" if file in MACHINES else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    """How pytest-xdist distributes tests."""
    return ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, which is watched by nothing but its own deadlines."""
    items.sort(key=lambda item: item.path.name not in MACHINES)
    for item in items:
        if item.path.name in (*MACHINES, "test_lab.py"):
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
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    folder = tmp_path_factory.mktemp("workspace")
    workspace = Workspace(folder)
    workspace.link_project()
    workspace.run("results/guest/manifest.json", "--configfile", "config/local.yaml")
    yield workspace
    # Some hundred MB that pytest would keep for three runs.
    shutil.rmtree(folder / "results/host-image", ignore_errors=True)
    shutil.rmtree(folder / "results/machines", ignore_errors=True)


@pytest.fixture(scope="session")
def local(workspace: Workspace) -> Workspace:
    """The workspace with config/local.yaml measured."""
    workspace.run("all", "--configfile", "config/local.yaml")
    return workspace


@pytest.fixture(scope="session")
def emulated(workspace: Workspace) -> Workspace:
    """The workspace with config/quick.yaml measured."""
    quick = ("--configfile", "config/quick.yaml")
    workspace.run("all", *quick)
    # Under translation VirtualBox's guest is lost now and then: a result, and not what is tested here.
    if any(one.status == "failed" for one in workspace.records("quick", "virtualbox")):
        workspace.run("results/quick/measurements/virtualbox.csv", "-R", "measure_session", *quick)
        workspace.run("all", *quick)
    return workspace
