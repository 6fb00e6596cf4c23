"""Images: what is taken out of the kernel, what an emulated machine is given, and what is built only once."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hvcost.environments import emulated
from hvcost.errors import MachineError
from hvcost.images import cache, guest_disk, kernel
from hvcost.images.guest import GuestImage
from hvcost.images.host import KERNEL_ARGUMENTS, HostImage
from hvcost.machines.base import sha256_of
from hvcost.machines.local import LocalConnection

COMPUTER = LocalConnection("this computer")
FORMATS = ("raw", "vdi")


def test_the_packed_kernel_is_found_in_its_image() -> None:
    packed = kernel.ZSTD_MAGIC + b"packed"
    image = bytearray(4096)
    image[0x1F1] = 1
    struct.pack_into("<II", image, 0x248, 16, len(packed) + 4)
    image[1024 + 16 : 1024 + 16 + len(packed)] = packed
    assert kernel.payload(bytes(image)) == packed
    image[1024 + 16] = 0
    with pytest.raises(MachineError, match="the kernel of the image is not packed by zstd"):
        kernel.payload(bytes(image))


def test_a_module_loses_its_signature_and_nothing_else() -> None:
    signed = b"module" + b"s" * 300 + bytes(8) + struct.pack(">I", 300) + kernel.SIGNATURE_MAGIC
    assert kernel.without_signature(signed) == b"module"
    assert kernel.without_signature(b"module") == b"module"


@pytest.mark.parametrize("boot_mode", ["native", "xen"])
def test_the_machine_gets_kernel_initramfs_and_all_arguments(tmp_path: Path, boot_mode: str) -> None:
    kernel_file, initramfs, xen = (tmp_path / name for name in ("vmlinux", "initrd.img", "xen"))
    image = HostImage(tmp_path, kernel_file, initramfs, xen, tmp_path, tmp_path, ["qemu"], "10")
    hardware = emulated.Hardware(2, 3072, "tcg")
    line = emulated.command_line(
        hardware,
        image,
        tmp_path / "disk",
        boot_mode,  # type: ignore[arg-type]
        tmp_path / "log",
        keep_changes=False,
    )
    given = dict(itertools.pairwise(line))
    if boot_mode == "native":
        assert (given["-kernel"], given["-initrd"]) == (str(kernel_file), str(initramfs))
        assert given["-append"] == f"{KERNEL_ARGUMENTS} console=ttyS0"
        return
    # QEMU's get_opt_value(): two commas are one, one ends the value.
    modules = [module.replace("\0", ",") for module in given["-initrd"].replace(",,", "\0").split(",")]
    assert modules == [f"{kernel_file} {KERNEL_ARGUMENTS} console=hvc0", str(initramfs)]


@pytest.fixture
def guest(tmp_path: Path) -> GuestImage:
    """A guest with a small disk, which holds its own name."""
    folder = tmp_path / "guest"
    folder.mkdir()
    raw = folder / "raw"
    raw.write_bytes(b"the guest's disk".ljust(1 << 20, b"\0"))
    disk, vmlinuz, initramfs = (folder / name for name in ("disk.qcow2", "vmlinuz", "initrd.img"))
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, disk], check=True)
    vmlinuz.write_bytes(b"kernel")
    initramfs.write_bytes(b"initramfs")
    return GuestImage(
        disk, vmlinuz, initramfs, {path.name: sha256_of(path) for path in (disk, vmlinuz, initramfs)}
    )


def _content(disk: Path, folder: Path) -> dict[str, bytes]:
    """The files in the file system of a disk."""
    folder.mkdir()
    subprocess.run(["debugfs", "-R", f"rdump / {folder}", disk], check=True, capture_output=True)
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_the_disk_holds_the_guest_in_all_formats(guest: GuestImage, tmp_path: Path) -> None:
    found = _content(guest_disk.ensure(COMPUTER, guest, FORMATS, tmp_path / "state"), tmp_path / "content")
    assert sorted(found) == ["disk.qcow2", "disk.raw", "disk.vdi", "initrd.img", "vmlinuz"]
    assert found["disk.qcow2"] == guest.disk.read_bytes()
    assert found["disk.raw"].startswith(b"the guest's disk")
    assert b"the guest's disk" in found["disk.vdi"]
    assert (found["vmlinuz"], found["initrd.img"]) == (b"kernel", b"initramfs")


def test_the_disk_is_made_once_and_again_for_another_guest(guest: GuestImage, tmp_path: Path) -> None:
    state = tmp_path / "state"
    disk = guest_disk.ensure(COMPUTER, guest, FORMATS, state)
    before = disk.stat()
    assert guest_disk.ensure(COMPUTER, guest, FORMATS, state).stat() == before
    guest.kernel.write_bytes(b"another kernel")
    guest.checksums["vmlinuz"] = sha256_of(guest.kernel)
    again = guest_disk.ensure(COMPUTER, guest, FORMATS, state)
    assert _content(again, tmp_path / "content")["vmlinuz"] == b"another kernel"
    assert sorted(path.name for path in state.iterdir()) == ["guest-files.img", "guest-files.json"]


def test_a_machine_gets_no_guest_that_was_not_built(guest: GuestImage, tmp_path: Path) -> None:
    state = tmp_path / "state"
    disk = guest_disk.ensure(COMPUTER, guest, FORMATS, state)
    with disk.open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"!")
    with pytest.raises(MachineError, match=r"guest-files\.img is not what was made there"):
        guest_disk.ensure(COMPUTER, guest, FORMATS, state)
    disk.unlink()
    guest.kernel.write_bytes(b"another kernel")
    with pytest.raises(MachineError, match="vmlinuz is not what its manifest says"):
        guest_disk.ensure(COMPUTER, guest, FORMATS, state)
    assert not disk.exists()


def _build(counter: Path, text: str) -> Callable[[Path], None]:
    """A build of an image that says how often it was built."""

    def build(folder: Path) -> None:
        (folder / "data").mkdir()
        (folder / "disk").write_text(text, encoding="utf-8")
        (folder / "data/more").write_text(text, encoding="utf-8")
        (folder / "key").touch(0o600)
        with counter.open("a", encoding="utf-8") as file:
            file.write(".")
        files = {"disk": {"sha256": sha256_of(folder / "disk")}}
        (folder / "manifest.json").write_text(json.dumps({"files": files}), encoding="utf-8")

    return build


def _fill(folder: Path, key: str, store: Path, text: str = "image") -> None:
    cache.fill(folder, "guest", key, _build(_counter(folder), text), store)


def _counter(folder: Path) -> Path:
    return folder.with_suffix(".builds")


def _builds(folder: Path) -> int:
    file = _counter(folder)
    return len(file.read_text(encoding="utf-8")) if file.exists() else 0


def test_an_image_is_built_once_for_all_checkouts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    one, other, store = tmp_path / "one", tmp_path / "other", tmp_path / "home/cache"
    _fill(one, "a", store)
    caplog.set_level("INFO")
    _fill(other, "a", store)
    assert (_builds(one), _builds(other)) == (1, 0)
    assert "guest image: as it was built on" in caplog.text
    assert f"remove {store / 'guest-a'} and build it again" in caplog.text
    for name in ("disk", "data/more", "key", "manifest.json"):
        assert (other / name).read_bytes() == (one / name).read_bytes()
    assert (other / "key").stat().st_mode == (one / "key").stat().st_mode
    # The workflow would make again what is older than what it is made of.
    assert (other / "disk").stat().st_mtime_ns > (one / "disk").stat().st_mtime_ns
    (other / "disk").write_text("changed")
    assert (one / "disk").read_text() == (store / "guest-a/disk").read_text() == "image"


def test_other_inputs_are_another_image(tmp_path: Path) -> None:
    file = tmp_path / "init"
    file.write_text("one")
    first = cache.fingerprint({"packages": ["iperf"]}, [file])
    assert cache.fingerprint({"packages": ["iperf"]}, [file]) == first
    assert cache.fingerprint({"packages": ["iperf3"]}, [file]) != first
    file.write_text("other")
    assert cache.fingerprint({"packages": ["iperf"]}, [file]) != first


def test_a_broken_entry_is_built_again(tmp_path: Path) -> None:
    store = tmp_path / "cache"
    _fill(tmp_path / "one", "a", store)
    (store / "guest-a/disk").write_text("half")
    _fill(tmp_path / "other", "a", store)
    assert _builds(tmp_path / "other") == 1
    _fill(tmp_path / "third", "a", store)
    assert (tmp_path / "third/disk").read_text() == "image"


def test_a_failed_build_leaves_no_entry(tmp_path: Path) -> None:
    def fail(_: Path) -> None:
        raise MachineError("this computer: no network")

    with pytest.raises(MachineError, match="no network"):
        cache.fill(tmp_path / "one", "guest", "a", fail, tmp_path / "cache")
    _fill(tmp_path / "one", "a", tmp_path / "cache")
    assert _builds(tmp_path / "one") == 1


def test_the_three_used_last_are_kept(tmp_path: Path) -> None:
    store = tmp_path / "cache"
    for key in ("a", "b", "c", "a", "d"):
        _fill(tmp_path / "one", key, store)
    assert sorted(path.name for path in store.glob("guest-*")) == ["guest-a", "guest-c", "guest-d"]


def test_two_checkouts_at_once_build_one_image(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "other", "third")]
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_fill, args=(folder, "a", tmp_path / "cache")) for folder in folders]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert sum(map(_builds, folders)) == 1
    assert {(folder / "disk").read_text() for folder in folders} == {"image"}


def test_a_cache_that_cannot_be_used_is_done_without(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "file"
    file.touch()
    _fill(tmp_path / "one", "a", file / "cache")
    assert _builds(tmp_path / "one") == 1
    assert "images are not kept for other checkouts" in caplog.text


def test_the_cache_is_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache.folder_of_user() == Path("/somewhere/hvcost")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert cache.folder_of_user() == Path("/home/me/.cache/hvcost")
