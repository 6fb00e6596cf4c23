"""An image is used only if all of it is there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hvcost.errors import MachineError, ParseError
from hvcost.images import guest, host

MANIFEST = {"qemu": "10.0.3", "files": {"disk.qcow2": {"sha256": "0" * 64, "bytes": 1}}}
LOADERS = pytest.mark.parametrize(("load", "kind"), [(guest.load, "guest"), (host.load, "host")])


@LOADERS
@pytest.mark.parametrize("text", ["", "{}", '{"files": {"disk.qcow2": 1}}'])
def test_a_manifest_that_is_none_is_refused(
    tmp_path: Path, load: Callable[[Path], object], kind: str, text: str
) -> None:
    manifest = tmp_path / "manifest.json"
    manifest.write_text(text)
    with pytest.raises(ParseError, match=rf"^{manifest}: not the manifest of a {kind} image: "):
        load(manifest)


@LOADERS
def test_a_file_that_is_missing_is_named_with_how_to_build_it(
    tmp_path: Path, load: Callable[[Path], object], kind: str
) -> None:
    manifest = tmp_path / "manifest.json"
    manifest.write_text(json.dumps(MANIFEST))
    with pytest.raises(
        MachineError, match=rf"disk\.qcow2 is missing; build it with `snakemake -f {manifest}`"
    ):
        load(manifest)


def test_a_host_image_without_the_file_that_its_manifest_does_not_list_is_refused(tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.json"
    manifest.write_text(json.dumps(MANIFEST))
    for name in set(host.FILES) - {"id_ed25519"}:
        (tmp_path / name).touch()
    with pytest.raises(MachineError, match="id_ed25519 is missing"):
        host.load(manifest)
