"""What is in the images that users pull."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from cluster.images import Images
from cluster.our_images import CONTROLLER_IMAGE, JOB_IMAGE

LIMIT_BYTES = 200 * 10**6
TORCH = "/site-packages/torch/__init__.py"


def _files(archive: Path) -> dict[str, dict[str, int]]:
    """Of each layer of an OCI archive: its files' bytes, by path."""
    with tarfile.open(archive) as image:
        index = json.load(_file(image, "index.json"))
        manifest = _json_blob(image, index["manifests"][0]["digest"])
        return {layer["digest"]: dict(_members(_blob(image, layer["digest"]))) for layer in manifest["layers"]}


def _members(layer: IO[bytes]) -> Iterator[tuple[str, int]]:
    with tarfile.open(fileobj=layer) as files:
        yield from ((f"/{member.name}", member.size) for member in files)


def _json_blob(image: tarfile.TarFile, digest: str) -> Any:
    return json.load(_blob(image, digest))


def _blob(image: tarfile.TarFile, digest: str) -> IO[bytes]:
    return _file(image, "blobs/" + digest.replace(":", "/"))


def _file(image: tarfile.TarFile, name: str) -> IO[bytes]:
    found = image.extractfile(name)
    assert found is not None, f"the archive has no file {name}"
    return found


def test_the_controller_image_adds_under_200_mb_to_its_base_and_has_no_torch(images: Images) -> None:
    base = _files(images.base())
    added = {digest: files for digest, files in _files(images.build(CONTROLLER_IMAGE)).items() if digest not in base}
    assert added
    assert sum(sum(files.values()) for files in added.values()) < LIMIT_BYTES
    assert not [path for files in added.values() for path in files if path.endswith(TORCH)]


def test_the_last_layer_of_each_image_is_its_source_and_small(images: Images) -> None:
    for build, package in ((CONTROLLER_IMAGE, "controller"), (JOB_IMAGE, "job")):
        *_, last = _files(images.build(build)).values()
        assert any(path.endswith(f"/{package}/__main__.py") for path in last), sorted(last)[:20]
        assert sum(last.values()) < 5 * 10**6


def test_torch_would_have_been_found(images: Images) -> None:
    found = [path for files in _files(images.build(JOB_IMAGE)).values() for path in files if path.endswith(TORCH)]
    assert len(found) == 1
