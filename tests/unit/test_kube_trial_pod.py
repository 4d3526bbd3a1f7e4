"""What holds for a trial's pod whatever an operator's template says."""
# ruff: noqa: S108  (paths in the pod)

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kube_objects import as_json
from kube_settings import FULL, PLAIN
from pydantic import ValidationError

from controller.kube.pod_template import REFUSED, PodTemplate
from controller.kube.settings import ClusterSettings
from controller.kube.trial_pod import trial_pod

Json = dict[str, Any]
URI = "s3://bucket/runs/demo/main"
COMMAND = ["python", "-m", "job", "/etc/lorasweep/request.json", "--run-uri", URI, "--attempt", "$(LORASWEEP_ATTEMPT)"]
# k8s.io/pod-security-admission v0.37.2, check_restrictedVolumes.go.
RESTRICTED_VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected", "secret",
}  # fmt: skip
HOST_FIELDS = {"hostNetwork", "hostPID", "hostIPC", "hostPath", "hostPort", "privileged", "procMount", "sysctls"}


def pod_of(template: Json, *, base: ClusterSettings = PLAIN, gpus: int = 1) -> Json:
    chosen = base.model_copy(update={"pod_template": PodTemplate.model_validate(template)})
    return as_json(trial_pod(chosen, run_uri=URI, gpus=gpus))


def named(parts: list[Json], name: str) -> Json:
    (found,) = [part for part in parts if part["name"] == name]
    return found


def fields_of(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for key, part in value.items():
            yield key
            yield from fields_of(part)
    elif isinstance(value, list):
        for part in value:
            yield from fields_of(part)


def assert_confined(pod: Json, *, gpus: int = 1) -> None:
    """The promises of docs/design.md about a trial's pod."""
    assert HOST_FIELDS.isdisjoint(set(fields_of(pod)) - {"privileged"})
    assert pod["automountServiceAccountToken"] is False
    assert "serviceAccount" not in pod
    assert pod["restartPolicy"] == "Never"
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"]["type"] in {"RuntimeDefault", "Localhost"}
    assert pod["securityContext"].get("runAsUser", 1) != 0
    for container in (*pod["containers"], *pod.get("initContainers", ())):
        security = container["securityContext"]
        assert security["allowPrivilegeEscalation"] is False
        assert security.get("privileged", False) is False
        assert security["runAsNonRoot"] is True
        assert security.get("runAsUser", 1) != 0
        assert "ALL" in security["capabilities"]["drop"]
        assert set(security["capabilities"]) == {"drop"}
        assert security.get("seccompProfile", {}).get("type", "RuntimeDefault") in {"RuntimeDefault", "Localhost"}
    assert all(
        len(set(volume) - {"name"}) == 1 and set(volume) - {"name"} <= RESTRICTED_VOLUMES for volume in pod["volumes"]
    )
    (trial,) = pod["containers"]
    assert trial["name"] == "trial"
    assert trial["command"] == COMMAND
    assert "args" not in trial
    assert trial["image"] == PLAIN.image
    assert trial["resources"]["limits"]["nvidia.com/gpu"] == str(gpus)
    assert named(trial["env"], "LORASWEEP_ATTEMPT")["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.uid"}}
    (mount,) = [one for one in trial["volumeMounts"] if one["mountPath"] == "/etc/lorasweep"]
    assert mount == {"name": "request", "mountPath": "/etc/lorasweep", "readOnly": True}
    assert set(named(pod["volumes"], "request")) == {"name", "downwardAPI"}
    for parts in (pod["volumes"], trial["env"], pod["containers"]):
        assert len({part["name"] for part in parts}) == len(parts)


def test_a_plain_pod_is_confined_and_can_write_where_libraries_do() -> None:
    pod = pod_of({})
    assert_confined(pod)
    (trial,) = pod["containers"]
    assert trial["securityContext"]["readOnlyRootFilesystem"] is True
    writable = {one["mountPath"] for one in trial["volumeMounts"] if not one.get("readOnly")}
    assert writable == {"/scratch", "/tmp", "/dev/shm"}
    caches = [one["value"] for one in trial["env"] if one.get("value", "").startswith("/")]
    assert len(caches) >= 9
    assert all((path + "/").startswith("/scratch/") for path in caches)


# What an operator may write, and some who try for more.
NAMES = st.sampled_from(["trial", "proxy", "request", "scratch", "tmp", "data", "LORASWEEP_ATTEMPT", "HOME", "PATH"])
PATHS = st.sampled_from(
    ["/tmp", "/etc/lorasweep", "/etc/lorasweep/", "/etc//lorasweep/x", "/data", "/", "//etc/lorasweep", "x"]
)
IDS = st.sampled_from([0, 1, 1000, 2**31, -1])
SECURITY = st.fixed_dictionaries(
    {},
    optional={
        "allowPrivilegeEscalation": st.booleans(),
        "capabilities": st.fixed_dictionaries(
            {}, optional={"drop": st.just(["NET_RAW"]), "add": st.just(["SYS_ADMIN"])}
        ),
        "privileged": st.booleans(),
        "procMount": st.just("Unmasked"),
        "readOnlyRootFilesystem": st.booleans(),
        "runAsNonRoot": st.booleans(),
        "runAsUser": IDS,
        "seccompProfile": st.sampled_from([{"type": "Unconfined"}, {"type": "RuntimeDefault"}, {"type": "Localhost"}]),
        "seLinuxOptions": st.sampled_from([{"type": "spc_t"}, {"type": "container_t"}, {"level": "s0"}]),
    },
)
ENV = st.fixed_dictionaries({"name": NAMES, "value": st.text(max_size=5)})
MOUNT = st.fixed_dictionaries({"name": NAMES, "mountPath": PATHS}, optional={"readOnly": st.booleans()})
CONTAINER = st.fixed_dictionaries(
    {"name": NAMES},
    optional={
        "image": st.just("evil:1"),
        "command": st.just(["sh"]),
        "args": st.just(["-c"]),
        "env": st.lists(ENV, max_size=2),
        "volumeMounts": st.lists(MOUNT, max_size=2),
        "securityContext": SECURITY,
        "resources": st.just({"limits": {"cpu": "1"}}),
        "restartPolicy": st.just("Always"),
        "ports": st.just([{"containerPort": 1, "hostPort": 1}]),
    },
)
TOKEN = {"sources": [{"serviceAccountToken": {"path": "token"}}]}
VOLUME = st.fixed_dictionaries(
    {"name": NAMES},
    optional={
        "emptyDir": st.just({}),
        "hostPath": st.just({"path": "/"}),
        "nfs": st.just({"server": "x", "path": "/"}),
        "projected": st.just(TOKEN),
        "secret": st.just({"secretName": "x"}),
    },
)
TEMPLATE = st.fixed_dictionaries(
    {},
    optional={
        "metadata": st.fixed_dictionaries({}, optional={"labels": st.just({"lorasweep.io/run": "x"})}),
        "spec": st.fixed_dictionaries(
            {},
            optional={
                "automountServiceAccountToken": st.just(True),
                "containers": st.lists(CONTAINER, max_size=2),
                "hostNetwork": st.just(True),
                "hostUsers": st.booleans(),
                "initContainers": st.lists(CONTAINER, max_size=2),
                "restartPolicy": st.just("OnFailure"),
                "securityContext": SECURITY,
                "serviceAccountName": st.just("admin"),
                "tolerations": st.just([{"operator": "Exists"}]),
                "volumes": st.lists(VOLUME, max_size=2),
            },
        ),
    },
)
ALLOWED_SECURITY = st.fixed_dictionaries(
    {},
    optional={
        "allowPrivilegeEscalation": st.just(False),
        "capabilities": st.just({"drop": ["NET_RAW"]}),
        "readOnlyRootFilesystem": st.booleans(),
        "runAsUser": st.integers(1, 9999),
        "seccompProfile": st.sampled_from([{"type": "RuntimeDefault"}, {"type": "Localhost", "localhostProfile": "x"}]),
    },
)
OTHERS = st.sampled_from(["HOME", "PATH", "scratch", "tmp", "extra"])
ALLOWED_PARTS = {
    "env": st.lists(st.fixed_dictionaries({"name": OTHERS, "value": st.text(max_size=5)}), max_size=3),
    "volumeMounts": st.lists(
        st.fixed_dictionaries({"name": OTHERS, "mountPath": st.sampled_from(["/tmp", "/data", "/etc"])}),
        max_size=2,
    ),
    "securityContext": ALLOWED_SECURITY,
}
ALLOWED = st.fixed_dictionaries(
    {},
    optional={
        "containers": st.lists(st.fixed_dictionaries({"name": st.just("trial")}, optional=ALLOWED_PARTS), max_size=1),
        "initContainers": st.lists(
            st.fixed_dictionaries({"name": st.just("proxy"), "image": st.just("x:1")}, optional=ALLOWED_PARTS),
            max_size=1,
        ),
        "volumes": st.lists(st.fixed_dictionaries({"name": OTHERS, "emptyDir": st.just({})}), max_size=1),
        "tolerations": st.lists(st.just({"operator": "Exists"}), max_size=2),
        "nodeSelector": st.just({"pool": "gpu"}),
    },
)


@given(TEMPLATE)
@settings(max_examples=300)
def test_whatever_a_template_says_it_is_refused_or_the_pod_is_confined(template: Json) -> None:
    try:
        pod = pod_of(template)
    except ValidationError:
        return
    assert_confined(pod)


@given(ALLOWED)
def test_what_a_template_may_say_is_done_and_the_pod_is_confined(spec: Json) -> None:
    pod = pod_of({"spec": spec})
    assert_confined(pod)
    (trial,) = pod["containers"]
    for container in spec.get("containers", ()):
        for variable in {one["name"]: one for one in container.get("env", ())}.values():
            assert named(trial["env"], variable["name"]) == variable
    for container in spec.get("initContainers", ()):
        assert named(pod["initContainers"], container["name"])["image"] == "x:1"
    for volume in spec.get("volumes", ()):
        assert named(pod["volumes"], volume["name"]) == volume
    for toleration in spec.get("tolerations", ()):
        assert toleration in pod["tolerations"]


@given(st.sampled_from(sorted(REFUSED)), st.sampled_from(["spec", "containers", "initContainers", "volumes"]))
def test_no_field_that_is_refused_can_be_set_where_it_would_count(field: str, place: str) -> None:
    own = {"image", "args", "command", "imagePullPolicy", "restartPolicy"}  # of an operator's own container
    if place == "initContainers" and field in own:
        return
    part: Json = {"name": "trial" if place == "containers" else "x", field: True}
    spec: Json = {field: True} if place == "spec" else {place: [part]}
    if (place, field) == ("volumes", "image"):
        return  # a volume with an image's files
    with pytest.raises(ValidationError):
        PodTemplate.model_validate({"spec": spec})


@pytest.mark.parametrize(
    "audience", [None, "", "https://kubernetes.default.svc.cluster.local", "https://kubernetes.default.svc"]
)
def test_a_token_for_the_kubernetes_api_is_refused(audience: str | None) -> None:
    token = {"path": "token"} | ({} if audience is None else {"audience": audience})
    volume = {"name": "token", "projected": {"sources": [{"serviceAccountToken": token}]}}
    with pytest.raises(ValidationError, match="needs the audience of another service"):
        PodTemplate.model_validate({"spec": {"volumes": [volume]}})


def test_a_token_for_a_cloud_is_fine() -> None:
    token = {"path": "token", "audience": "sts.amazonaws.com"}
    pod = pod_of({"spec": {"volumes": [{"name": "aws", "projected": {"sources": [{"serviceAccountToken": token}]}}]}})
    assert named(pod["volumes"], "aws")["projected"]["sources"] == [{"serviceAccountToken": token}]


def test_secrets_are_named_and_never_held() -> None:
    pod = trial_pod(FULL, run_uri=URI, gpus=1)
    (trial,) = as_json(pod)["containers"]
    assert named(trial["env"], "AWS_SECRET_ACCESS_KEY")["valueFrom"]["secretKeyRef"] == {
        "name": "s3",
        "key": "AWS_SECRET_ACCESS_KEY",
    }
    assert "envFrom" not in trial
