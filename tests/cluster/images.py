"""Images for the cluster: built with buildah on a base from debootstrap, packed into archives; no registry is asked.

All of it lies in `$XDG_CACHE_HOME/lorasweep/images/`: buildah's own storage with the layers, so that a changed source
file costs its layer alone, and one archive for each image.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from servers.go_tool import cache_root, locked

from cluster.binaries import TOOLS

SUITE = "bookworm"
BASE_PACKAGES = ("ca-certificates", "python-is-python3", "python3", "python3-pip", "python3-venv")
BASE_IMAGE = f"localhost/python-base:{SUITE}"
"""Stands in for python:3.x-slim: has sh, python, python3, pip and CA certificates."""
NOT_IN_BASE = ("./var/cache/apt", "./var/lib/apt/lists", "./usr/share/doc", "./usr/share/man", "./dev")
HOST_TRUST = "/etc/ssl/certs/ca-certificates.crt"
BASE_DOCKERFILE = """\
FROM scratch
ADD {root} /
LABEL root={digest}
CMD ["python3"]
"""
LAST_LINES = 40


class ImageBuildError(Exception):
    """debootstrap or buildah failed; the message ends with what it said."""


@dataclass(frozen=True)
class Build:
    """One image of a Dockerfile."""

    name: str
    """With `localhost/` before it and a tag behind it, as manifests name it."""
    dockerfile: Path
    context: Path
    target: str = ""
    arguments: Mapping[str, str] = field(default_factory=dict)
    """Values of the Dockerfile's ARG lines, such as the base image."""
    sources: Sequence[str] = ()
    """Files and folders of the context that the image is made of. If said and unchanged, nothing is built."""


@dataclass(frozen=True)
class Images:
    """A storage of images, and the archives made of them."""

    folder: Path

    def build(self, build: Build) -> Path:
        """The archive of an image that is as its Dockerfile and context say now. Raises ImageBuildError."""
        with self._storage_locked():
            inputs = self.folder / f"{_stem(build.name)}.inputs"
            digest = _digest_of(build)
            if build.sources and (archive := self._made_of(inputs, digest)) is not None:
                return archive  # buildah would read every layer again to find out that it has them: gigabytes
            command = ["bud", "--isolation=chroot", "--layers", f"--file={build.dockerfile}", f"--tag={build.name}"]
            command += [f"--target={build.target}"] if build.target else []
            command += [f"--build-arg={name}={value}" for name, value in build.arguments.items()]
            self._buildah(*command, *self._trust(), str(build.context))
            archive = self._archive(build.name)
            inputs.write_text(f"{digest} {archive.name}", encoding="utf-8")
            return archive

    def _made_of(self, inputs: Path, digest: str) -> Path | None:
        """The archive that was made of these inputs, if it is still there."""
        before, _, name = inputs.read_text(encoding="utf-8").partition(" ") if inputs.exists() else ("", "", "")
        archive = self.folder / name
        return archive if before == digest and archive.is_file() else None

    def base(self) -> Path:
        """The archive of BASE_IMAGE, which builds can name in FROM from then on. Raises ImageBuildError."""
        with self._storage_locked():
            digest = hashlib.sha256(" ".join([SUITE, *BASE_PACKAGES, *NOT_IN_BASE]).encode()).hexdigest()[:16]
            root = self.folder / f"base-{digest}.tar"
            if not root.exists():
                _bootstrap(root)
            if self._buildah("images", "--quiet", "--filter", f"label=root={digest}") == "":
                self._commit_base(root, digest=digest)
            return self._archive(BASE_IMAGE)

    def pause(self, program: Path) -> Path:
        """The archive of the image that holds a pod's namespaces open. Raises ImageBuildError."""
        archive = self.folder / f"pause-{program.parent.name}.tar"
        if not archive.exists():
            made = self.build(Build("localhost/pause:1", TOOLS / "pause" / "Dockerfile", program.parent))
            os.link(made, archive)
        return archive

    def _commit_base(self, root: Path, *, digest: str) -> None:
        with tempfile.TemporaryDirectory(dir=self.folder) as scratch:
            dockerfile = Path(scratch) / "Dockerfile"
            dockerfile.write_text(BASE_DOCKERFILE.format(root=root.name, digest=digest), encoding="utf-8")
            os.link(root, Path(scratch) / root.name)
            self._buildah("bud", "--isolation=chroot", f"--file={dockerfile}", f"--tag={BASE_IMAGE}", scratch)

    def _archive(self, name: str) -> Path:
        image_id = self._buildah("images", "--quiet", "--no-trunc", name).split()[0].removeprefix("sha256:")
        stem = _stem(name)
        archive = self.folder / f"{stem}.{image_id[:16]}.oci.tar"
        if not archive.exists():
            for older in self.folder.glob(f"{stem}.*.oci.tar"):
                older.unlink()
            with tempfile.TemporaryDirectory(dir=self.folder) as scratch:
                made = Path(scratch) / "image.tar"
                self._buildah("push", "--quiet", "--disable-compression", name, f"oci-archive:{made}:{name}")
                made.replace(archive)
        return archive

    def _buildah(self, *arguments: str) -> str:
        # Its mounts end with it, even if it is killed; so nothing may be remembered of them, as a runroot would.
        with tempfile.TemporaryDirectory() as runroot:
            storage = ["--root", str(self.folder / "storage"), "--runroot", runroot, "--storage-driver=overlay"]
            return _ran(["unshare", "--mount", "buildah", *storage, *arguments])

    def _trust(self) -> Sequence[str]:
        """What a build gets so that pip and uv inside trust whom this machine trusts: not a part of the image."""
        pip, uv = self.folder / "pip.conf", self.folder / "uv.toml"
        pip.write_text(f"[global]\ncert = {HOST_TRUST}\n", encoding="utf-8")
        uv.write_text("native-tls = true\n", encoding="utf-8")
        mounts = {Path(HOST_TRUST): HOST_TRUST, pip: "/etc/pip.conf", uv: "/etc/uv/uv.toml"}
        return [f"--volume={source}:{target}:ro" for source, target in mounts.items()]

    @contextmanager
    def _storage_locked(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        with locked(self.folder / "lock"):
            yield


def cached_images(environ: Mapping[str, str]) -> Images:
    """The images that this machine keeps between runs."""
    return Images(cache_root(environ) / "images")


def _stem(name: str) -> str:
    return name.rpartition("/")[2].replace(":", "-")


def _digest_of(build: Build) -> str:
    """Of the names and bytes of all that decides what the image holds, but for what FROM names."""
    digest = hashlib.sha256(repr((build.name, build.target, sorted(build.arguments.items()))).encode())
    ignored = [path for path in (build.context / ".dockerignore",) if path.exists()]
    named = [build.context / source for source in build.sources]
    inside = [path for folder in named for path in (folder.rglob("*") if folder.is_dir() else [folder])]
    for path in sorted([build.dockerfile, *ignored, *inside]):
        if path.is_file() and "__pycache__" not in path.parts:
            body = path.read_bytes()
            name = path.name if path == build.dockerfile else path.relative_to(build.context)
            digest.update(f"{name}\0{len(body)}\0".encode() + body)
    return digest.hexdigest()


def _bootstrap(root: Path) -> None:
    """A Debian system as a tar file. Raises ImageBuildError."""
    with tempfile.TemporaryDirectory(dir=root.parent) as scratch:
        system, made = Path(scratch) / "system", Path(scratch) / "system.tar"
        _ran(["debootstrap", "--variant=minbase", f"--include={','.join(BASE_PACKAGES)}", SUITE, str(system)])
        _ran(["tar", "-C", str(system), *(f"--exclude={path}/*" for path in NOT_IN_BASE), "-cf", str(made), "."])
        made.replace(root)


def _ran(command: Sequence[str]) -> str:
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        said = "\n".join((ended.stdout + ended.stderr).splitlines()[-LAST_LINES:])
        raise ImageBuildError(f"{' '.join(command)} exited with {ended.returncode}:\n{said}")
    return ended.stdout


__all__ = ["BASE_IMAGE", "Build", "ImageBuildError", "Images", "cached_images"]
