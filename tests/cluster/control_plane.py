"""etcd, kube-apiserver, kube-controller-manager and kube-scheduler: how each is run."""

from __future__ import annotations

from cluster.binaries import Binaries
from cluster.certificates import NODE, SERVICE_NETWORK, Certificates
from cluster.folder import ClusterFolder
from cluster.kubeconfig import API_PORT, write_kubeconfig
from cluster.programs import Program

ETCD_CLIENTS = "http://127.0.0.1:2379"
ETCD_PEERS = "http://127.0.0.1:2380"


def control_plane(
    binaries: Binaries, *, folder: ClusterFolder, certificates: Certificates, node_address: str
) -> tuple[Program, ...]:
    """The programs, in the order in which they start."""
    return (
        _etcd(binaries, folder=folder),
        _apiserver(binaries, certificates=certificates, node_address=node_address),
        _controller_manager(binaries, folder=folder, certificates=certificates, node_address=node_address),
        _scheduler(binaries, folder=folder, certificates=certificates, node_address=node_address),
    )


def _etcd(binaries: Binaries, *, folder: ClusterFolder) -> Program:
    return Program(
        "etcd",
        [
            str(binaries["etcd"]),
            f"--name={NODE}",
            f"--data-dir={folder.path / 'etcd'}",
            f"--listen-client-urls={ETCD_CLIENTS}",
            f"--advertise-client-urls={ETCD_CLIENTS}",
            f"--listen-peer-urls={ETCD_PEERS}",
            f"--initial-advertise-peer-urls={ETCD_PEERS}",
            f"--initial-cluster={NODE}={ETCD_PEERS}",
            "--unsafe-no-fsync",  # nothing here has to outlive a power cut
        ],
    )


def _apiserver(binaries: Binaries, *, certificates: Certificates, node_address: str) -> Program:
    kubelet_client = certificates.pair("kube-apiserver-kubelet")
    return Program(
        "kube-apiserver",
        [
            str(binaries["kube-apiserver"]),
            f"--etcd-servers={ETCD_CLIENTS}",
            f"--advertise-address={node_address}",
            f"--bind-address={node_address}",
            f"--secure-port={API_PORT}",
            f"--tls-cert-file={certificates.server.certificate}",
            f"--tls-private-key-file={certificates.server.key}",
            f"--client-ca-file={certificates.authority.certificate}",
            # No aggregated API server stands behind a proxy here, but everything that authenticates asks for the names.
            f"--requestheader-client-ca-file={certificates.authority.certificate}",
            "--requestheader-allowed-names=nobody",
            "--requestheader-username-headers=X-Remote-User",
            f"--kubelet-client-certificate={kubelet_client.certificate}",
            f"--kubelet-client-key={kubelet_client.key}",
            "--kubelet-preferred-address-types=InternalIP",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-key-file={certificates.service_accounts.certificate}",
            f"--service-account-signing-key-file={certificates.service_accounts.key}",
            f"--service-cluster-ip-range={SERVICE_NETWORK}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
        ],
    )


def _controller_manager(
    binaries: Binaries, *, folder: ClusterFolder, certificates: Certificates, node_address: str
) -> Program:
    return Program(
        "kube-controller-manager",
        [
            str(binaries["kube-controller-manager"]),
            *_client_flags("kube-controller-manager", folder, certificates, node_address),
            f"--service-account-private-key-file={certificates.service_accounts.key}",
            f"--root-ca-file={certificates.authority.certificate}",
            "--use-service-account-credentials",
        ],
    )


def _scheduler(binaries: Binaries, *, folder: ClusterFolder, certificates: Certificates, node_address: str) -> Program:
    return Program(
        "kube-scheduler",
        [
            str(binaries["kube-scheduler"]),
            *_client_flags("kube-scheduler", folder, certificates, node_address),
        ],
    )


def _client_flags(name: str, folder: ClusterFolder, certificates: Certificates, node_address: str) -> list[str]:
    kubeconfig = write_kubeconfig(
        folder.settings / f"{name}.kubeconfig", certificates=certificates, client=name, node_address=node_address
    )
    return [
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        "--bind-address=127.0.0.1",
        "--leader-elect=false",  # there is one of each
    ]


__all__ = ["control_plane"]
