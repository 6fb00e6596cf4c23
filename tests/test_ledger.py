"""What was changed for good is written down first, and is all that is taken back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from debian import Debian, Package, debian
from hvcost.environments import boot, ledger, preparation
from hvcost.environments.ledger import Ledger
from hvcost.environments.preparation import ensure_packages
from hvcost.errors import MachineError
from hvcost.machines.packages import packages_by_status

TOOL, LIBRARY, BROKEN, THEIRS, RIVAL, SERVING = (
    "hvcost-test-tool",
    "hvcost-test-lib",
    "hvcost-test-broken",
    "hvcost-test-theirs",
    "hvcost-test-rival",
    "hvcost-test-serving",
)
SERVICE, SERVED = f"/etc/init.d/{SERVING}", "/var/lib/hvcost-test-served"
SEEN = "/var/lib/hvcost-test-seen"
PACKAGES = [
    Package(TOOL, LIBRARY),
    Package(LIBRARY, preinst=f"cp {ledger.FILE} {SEEN}"),
    Package(BROKEN, LIBRARY, preinst="exit 1"),
    Package(THEIRS, LIBRARY),
    Package(RIVAL, conflicts=THEIRS),
    Package(SERVING, postinst=f"[ ! -x {SERVICE} ] || touch {SERVED}", conffile=SERVICE),
]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mount namespaces need root")


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Debian]:
    with debian(tmp_path, PACKAGES) as machine:
        yield machine


def test_packages_are_written_down_before_they_are_installed(host: Debian) -> None:
    assert ensure_packages(host, [TOOL, "dpkg"]) == [LIBRARY, TOOL]
    assert ledger.read(host) == Ledger(packages=(LIBRARY, TOOL))
    assert host.run(["cat", SEEN]).stdout == host.run(["cat", ledger.FILE]).stdout


def test_what_half_of_an_installation_has_left_is_taken_back(host: Debian) -> None:
    before = packages_by_status(host)
    with pytest.raises(MachineError, match="ended with exit code 100"):
        ensure_packages(host, [BROKEN])
    assert LIBRARY in packages_by_status(host)
    ledger.take_back(host)
    assert packages_by_status(host) == before


class Cut(Debian):
    """A machine whose connection dies: a command has started there, and half of its input has arrived."""

    def _execute(self, argv: tuple[str, ...], timeout_s: float, stdin: bytes) -> tuple[int, bytes, bytes]:
        return super()._execute(argv, timeout_s, stdin[: len(stdin) // 2])


def test_a_connection_that_dies_leaves_no_half_of_a_file(host: Debian) -> None:
    ledger.note(host, Ledger(packages=(LIBRARY,)))
    cut = Cut(host.first)
    ledger.note(cut, Ledger(packages=(TOOL,)))
    assert LIBRARY in ledger.read(host).packages
    boot.keep_default(cut)
    assert boot.keep_default(host) == []


def test_what_somebody_has_is_not_removed_for_what_is_needed(host: Debian) -> None:
    ensure_packages(host, [THEIRS])
    with pytest.raises(MachineError, match=r"lab host: .*remove"):
        ensure_packages(host, [RIVAL])
    assert THEIRS in packages_by_status(host)


def test_a_server_that_a_tool_brings_along_does_not_start(
    host: Debian, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = packages_by_status(host)
    monkeypatch.setattr(preparation, "autostart_files", lambda: [SERVICE])
    assert ensure_packages(host, [SERVING]) == [SERVING]
    assert not host.succeeds(["test", "-e", SERVICE])
    assert not host.succeeds(["test", "-e", SERVED])
    ledger.take_back(host)
    assert packages_by_status(host) == before


def test_everything_is_taken_back(host: Debian) -> None:
    before = packages_by_status(host)
    ensure_packages(host, [TOOL])
    assert ledger.take_back(host) == [
        f"removed package {LIBRARY}",
        f"removed package {TOOL}",
        "removed /var/lib/hvcost",
    ]
    assert packages_by_status(host) == before
    assert ledger.take_back(host) == ["removed /var/lib/hvcost"]


@pytest.mark.parametrize("first", [False, True], ids=["after", "before"])
def test_what_others_have_come_to_need_stays(host: Debian, tmp_path: Path, first: bool) -> None:
    if first:
        # Theirs without what it needs, which is then installed for us.
        host.run(["dpkg", "--force-depends", "--install", str(tmp_path / f"{THEIRS}.deb")])
        ledger.note(host, Ledger(packages=(LIBRARY, TOOL)))
        host.run(["dpkg", "--install", *(str(tmp_path / f"{name}.deb") for name in (LIBRARY, TOOL))])
    else:
        ensure_packages(host, [TOOL])
        host.run(["dpkg", "--install", str(tmp_path / f"{THEIRS}.deb")])
    said = ledger.take_back(host)
    assert f"removed package {TOOL}" in said
    assert f"kept package {LIBRARY}, which something else there needs by now" in said
    left = packages_by_status(host)
    assert (left[THEIRS], left[LIBRARY], TOOL in left) == ("installed", "installed", False)


def test_a_package_that_was_unpacked_by_half_is_taken_back(host: Debian) -> None:
    before = packages_by_status(host)
    ensure_packages(host, [TOOL])
    state = f"/^Package: {LIBRARY}$/,/^$/s/^Status: .*/Status: install reinstreq half-installed/"
    host.run(["sed", "-i", state, "/var/lib/dpkg/status"])
    assert packages_by_status(host)[LIBRARY] == "half-installed"
    ledger.take_back(host)
    assert packages_by_status(host) == before


def test_a_list_is_kept_when_nothing_could_be_taken_back(host: Debian) -> None:
    ensure_packages(host, [TOOL])
    host.run(["sh", "-c", "echo nonsense >>/var/lib/dpkg/status"])
    with pytest.raises(MachineError, match="parsing"):
        ledger.take_back(host)
    assert ledger.read(host) == Ledger(packages=(LIBRARY, TOOL))


def test_however_much_stays_the_rest_goes(tmp_path: Path) -> None:
    # More than the number of errors after which dpkg gives up.
    libraries = [f"hvcost-test-lib{number}" for number in range(60)]
    made = [Package(name) for name in libraries]
    with debian(tmp_path, [*made, Package(TOOL), Package(THEIRS, ", ".join(libraries))]) as host:
        ensure_packages(host, [*libraries, TOOL])
        host.run(["dpkg", "--install", str(tmp_path / f"{THEIRS}.deb")])
        ledger.take_back(host)
        left = packages_by_status(host)
        assert TOOL not in left
        assert left[THEIRS] == "installed"


def test_packages_that_somebody_has_removed_meanwhile_are_no_obstacle(host: Debian) -> None:
    ensure_packages(host, [TOOL])
    host.run(["dpkg", "--purge", TOOL, LIBRARY])
    assert ledger.take_back(host) == ["removed /var/lib/hvcost"]


def test_the_boot_menu_is_made_anew_when_that_was_interrupted(host: Debian) -> None:
    update = f"mkdir -p /boot/grub; cat {boot.SETTINGS} >{boot.GRUB_CONFIGURATION} 2>/dev/null || true"
    host.run(["sh", "-c", f"printf '#!/bin/sh\\n%s\\n' '{update}' >/usr/sbin/update-grub"])
    host.run(["chmod", "755", "/usr/sbin/update-grub"])
    host.run(["update-grub"])
    assert boot.keep_default(host)
    # The preparation ends here, and the next one finds its settings as they should be.
    assert boot.keep_default(host) == []
    assert boot.ensure_menu(host) == [f"made {boot.GRUB_CONFIGURATION} anew"]
    assert boot.ensure_menu(host) == []
    # The next one ends while the menu is written, or the clock has been set back since.
    host.run(["sh", "-c", f"echo '# no Xen' >{boot.GRUB_CONFIGURATION}"])
    assert boot.ensure_menu(host) == [f"made {boot.GRUB_CONFIGURATION} anew"]
