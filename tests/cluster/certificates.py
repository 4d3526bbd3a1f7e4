"""One certificate authority for a cluster, and a key with a certificate for each of its parts. Made with openssl."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

VALID_DAYS = "30"  # a cluster that was left standing should outlive a holiday
NODE = "node-1"
SERVICE_NETWORK = "10.96.0.0/16"
API_SERVICE_ADDRESS = "10.96.0.1"
SERVER_NAMES = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")


@dataclass(frozen=True)
class KeyPair:
    """The files of a key and of its certificate."""

    key: Path
    certificate: Path


@dataclass(frozen=True)
class Client:
    """Whom the API server sees: a user and a group."""

    name: str
    user: str
    group: str = ""


CLIENTS = (
    Client("admin", "cluster-admin", "system:masters"),
    Client("kube-apiserver-kubelet", "kube-apiserver", "system:masters"),
    Client("kube-controller-manager", "system:kube-controller-manager"),
    Client("kube-scheduler", "system:kube-scheduler"),
    Client("kube-proxy", "system:kube-proxy"),
    Client("kubelet", f"system:node:{NODE}", "system:nodes"),
)


@dataclass(frozen=True)
class Certificates:
    """A folder of key pairs; `ca` signs all of them."""

    folder: Path

    @property
    def authority(self) -> KeyPair:
        return self.pair("ca")

    @property
    def server(self) -> KeyPair:
        return self.pair("kube-apiserver")

    @property
    def service_accounts(self) -> KeyPair:
        """Signs the tokens of service accounts."""
        return self.pair("service-accounts")

    def pair(self, name: str) -> KeyPair:
        return KeyPair(self.folder / f"{name}.key", self.folder / f"{name}.crt")


def make_certificates(folder: Path, *, node_address: str) -> Certificates:
    """All key pairs of a cluster, in that folder."""
    made = Certificates(folder)
    _sign(made.authority, "/CN=cluster-under-test", extensions=("basicConstraints=critical,CA:TRUE",))
    names = ",".join([f"DNS:{name}" for name in SERVER_NAMES] + [f"IP:{node_address}", f"IP:{API_SERVICE_ADDRESS}"])
    with ThreadPoolExecutor() as signers:
        waited = [
            signers.submit(
                _sign,
                made.server,
                "/CN=kube-apiserver",
                extensions=(f"subjectAltName={names}", "extendedKeyUsage=serverAuth"),
                authority=made.authority,
            ),
            signers.submit(_sign, made.service_accounts, "/CN=service-accounts", authority=made.authority),
        ]
        for client in CLIENTS:
            group = f"/O={client.group}" if client.group else ""
            waited.append(
                signers.submit(
                    _sign,
                    made.pair(client.name),
                    f"{group}/CN={client.user}",
                    extensions=("extendedKeyUsage=clientAuth",),
                    authority=made.authority,
                )
            )
        for signed in waited:
            signed.result()
    return made


def _sign(pair: KeyPair, subject: str, *, extensions: Sequence[str] = (), authority: KeyPair | None = None) -> None:
    command = ["openssl", "req", "-x509", "-new", "-nodes", "-days", VALID_DAYS, "-subj", subject]
    command += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command += ["-keyout", str(pair.key), "-out", str(pair.certificate)]
    for extension in extensions:
        command += ["-addext", extension]
    if authority is not None:
        command += ["-CA", str(authority.certificate), "-CAkey", str(authority.key)]
    subprocess.run(command, capture_output=True, check=True)


__all__ = ["API_SERVICE_ADDRESS", "NODE", "SERVICE_NETWORK", "Certificates", "KeyPair", "make_certificates"]
