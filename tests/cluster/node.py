"""containerd, kubelet and kube-proxy of the one node: their settings, and how each is run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cluster.binaries import Binaries
from cluster.certificates import NODE, Certificates
from cluster.folder import ClusterFolder
from cluster.kubeconfig import write_kubeconfig
from cluster.programs import Program

POD_NETWORK = "10.244.0.0/16"
CNI_PLUGINS = "/usr/lib/cni"  # where Debian's containernetworking-plugins puts them
CONTAINERD_SOCKET = "/run/containerd/containerd.sock"
PAUSE_IMAGE = "localhost/pause:1"

CONTAINERD_CONFIG = """
version = 3
disabled_plugins = [
  "io.containerd.internal.v1.tracing",
  "io.containerd.nri.v1.nri",
  "io.containerd.snapshotter.v1.blockfile",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.erofs",
  "io.containerd.snapshotter.v1.zfs",
]
[grpc]
address = "{socket}"
[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "{pause_image}"
[plugins."io.containerd.cri.v1.runtime"]
# Without CAP_SYS_RESOURCE no process may lower its OOM score, and every sandbox would fail in runc.
restrict_oom_score_adj = true
[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["{cni_plugins}"]
conf_dir = "{cni_settings}"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
BinaryName = "{runc}"
SystemdCgroup = false
"""


def node(
    binaries: Binaries, *, folder: ClusterFolder, certificates: Certificates, node_address: str
) -> tuple[Program, ...]:
    """The programs, in the order in which they start."""
    return (
        _containerd(binaries, folder=folder),
        _kubelet(binaries, folder=folder, certificates=certificates, node_address=node_address),
        _kube_proxy(binaries, folder=folder, certificates=certificates, node_address=node_address),
    )


def _containerd(binaries: Binaries, *, folder: ClusterFolder) -> Program:
    cni_settings = folder.settings / "cni"
    cni_settings.mkdir()
    _write(cni_settings / "10-bridge.conflist", _cni_settings())
    config = folder.settings / "containerd.toml"
    config.write_text(
        CONTAINERD_CONFIG.format(
            socket=CONTAINERD_SOCKET,
            pause_image=PAUSE_IMAGE,
            cni_plugins=CNI_PLUGINS,
            cni_settings=cni_settings,
            runc=binaries["runc"],
        ),
        encoding="utf-8",
    )
    own_first = [str(binaries["containerd"].parent), str(binaries["runc"].parent)]
    path = ":".join([*own_first, "/usr/sbin", "/usr/bin", "/sbin", "/bin"])
    return Program("containerd", [str(binaries["containerd"]), "--config", str(config)], {"PATH": path})


def _kubelet(binaries: Binaries, *, folder: ClusterFolder, certificates: Certificates, node_address: str) -> Program:
    kubeconfig = write_kubeconfig(
        folder.settings / "kubelet.kubeconfig",
        certificates=certificates,
        client="kubelet",
        node_address=node_address,
    )
    resolv_conf = folder.settings / "resolv.conf"
    resolv_conf.write_text("", encoding="utf-8")  # nothing in the cluster resolves names outside of it
    settings = _kubelet_settings(
        folder, authority=certificates.authority.certificate, node_address=node_address, resolv_conf=resolv_conf
    )
    return Program(
        "kubelet",
        [
            str(binaries["kubelet"]),
            f"--config={_write(folder.settings / 'kubelet.json', settings)}",
            f"--kubeconfig={kubeconfig}",
            f"--hostname-override={NODE}",
            f"--node-ip={node_address}",
        ],
    )


def _kube_proxy(binaries: Binaries, *, folder: ClusterFolder, certificates: Certificates, node_address: str) -> Program:
    kubeconfig = write_kubeconfig(
        folder.settings / "kube-proxy.kubeconfig",
        certificates=certificates,
        client="kube-proxy",
        node_address=node_address,
    )
    settings = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        "clusterCIDR": POD_NETWORK,
        "hostnameOverride": NODE,
        "bindAddress": node_address,
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        # The kernel's limits of connection tracking are not this namespace's to set.
        "conntrack": {"maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }
    return Program(
        "kube-proxy", [str(binaries["kube-proxy"]), f"--config={_write(folder.settings / 'proxy.json', settings)}"]
    )


def _kubelet_settings(
    folder: ClusterFolder, *, authority: Path, node_address: str, resolv_conf: Path
) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": node_address,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(authority)},
        },
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{folder.name}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "enforceNodeAllocatable": [],
        "clusterDNS": ["10.96.0.10"],
        "clusterDomain": "cluster.local",
        "resolvConf": str(resolv_conf),
        # The disk and the memory are the machine's: a pod must not be evicted for what others use of them.
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,  # images are imported and could not be pulled again
        "nodeStatusUpdateFrequency": "2s",
    }


def _cni_settings() -> dict[str, Any]:
    return {
        "cniVersion": "1.0.0",
        "name": "pods",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "pods0",
                "isGateway": True,
                "ipMasq": True,
                "hairpinMode": True,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": POD_NETWORK}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }


def _write(path: Path, content: dict[str, Any]) -> Path:
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")
    return path


__all__ = ["CONTAINERD_SOCKET", "PAUSE_IMAGE", "node"]
