"""What the slow tests share, since it takes minutes: built images, and experiments that were measured."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from workspace import Workspace


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Two processes run the tests: one all that need the images, built once; the other file by file."""
    groups = {item: "machines" if "workspace" in _fixtures(item) else item.path.stem for item in items}
    for item, group in groups.items():
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: groups[item] != "machines")


def _fixtures(item: pytest.Item) -> list[str]:
    names: list[str] = getattr(item, "fixturenames", [])
    return names


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
    workspace.run("all", "--configfile", "config/quick.yaml")
    return workspace
