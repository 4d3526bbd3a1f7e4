"""What the chart renders, with Helm 4 and with Helm 3; no cluster is needed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from plain_manifests import rendered

from cluster.charted import NIGHTLY, ROOT, SWEEP, SWITCHES, spec_option
from cluster.helm import CHART, NEWEST, Helm, HelmError
from controller.kube.rights import CONTROLLER_RIGHTS
from controller.kube.settings import ClusterSettings
from controller.kube.settings_file import parse_settings


def test_lint_is_strictly_content(helm: Helm, spec: str, operator_values: str) -> None:
    for options in ((), (NIGHTLY,), SWITCHES, (NIGHTLY, *SWITCHES, operator_values)):
        assert "0 chart(s) failed" in helm("lint", "--strict", NEWEST, str(CHART), spec, *options)


def test_without_a_sweep_nothing_is_rendered(helm: Helm) -> None:
    with pytest.raises(HelmError, match="no sweep: add --set-file spec="):
        helm.template("nightly")


def test_the_name_of_a_sweeps_file_in_its_place_is_refused(helm: Helm) -> None:
    with pytest.raises(HelmError, match=r"--set-file spec=my-sweep\.yaml reads from its file"):
        helm.template("nightly", "--set=spec=my-sweep.yaml")


@pytest.mark.parametrize("text", ["- a list\n", "{ no yaml", "store: {root: s3://bucket}\ncluster:\n  image: x:1\n"])
def test_another_file_than_a_sweeps_is_refused(helm: Helm, tmp_path: Path, text: str) -> None:
    with pytest.raises(HelmError, match="`spec` holds no sweep"):
        helm.template("nightly", spec_option(tmp_path, text))


@pytest.mark.parametrize("store", ["", "store: {root: runs}\n", "store: {}\n", "store: s3://bucket\n"])
def test_a_store_that_pods_cannot_reach_is_refused(helm: Helm, tmp_path: Path, store: str) -> None:
    spec = spec_option(tmp_path, f"version: 1\nname: dialogues\n{store}")
    with pytest.raises(HelmError, match="no store that pods can reach: add --set store=s3://bucket/prefix"):
        helm.template("nightly", spec)
    helm.template("nightly", spec, "--set=store=s3://bucket/sweeps")


@pytest.mark.parametrize(
    ("option", "named"),
    [
        ("--set=clutser.image=x:1", "clutser"),
        ("--set=cluster.imgae=x:1", "imgae"),
        ("--set=cluster.s3.endpont=https://x", "endpont"),
        ("--set=cluster.pod_template.spec.hostNetwork=true", "hostNetwork"),
        ("--set=controller.resources.request.cpu=1", "request"),
        ("--set=schedule.timezone=UTC", "timezone"),
        ("--set=metrics.pod_monitor.enable=true", "enable"),
        ("--set=store=gs://bucket", "store"),
        ("--set=cluster.image=lorasweep-job:latest", "image"),
        ("--set=cluster.image=Lorasweep-Job:1", "image"),
        ("--set=controller.image=lorasweep-controller", "image"),
        ("--set=cluster.s3.endpoint=s3.example.org", "endpoint"),
        ('--set-json=cluster.volumes=[{"name":"d","claim":"c","path":"data"}]', "path"),
        ("--set=cluster.resources.cpu=2", "cpu"),
        ("--set=cluster.s3=null", "s3"),
        ("--set=spec.name=x", "spec"),
    ],
)
def test_a_value_that_means_nothing_is_refused_by_its_name(helm: Helm, spec: str, option: str, named: str) -> None:
    with pytest.raises(HelmError, match=rf"\b{named}\b"):
        helm.template("nightly", *([] if named == "spec" else [spec]), option)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((NIGHTLY, "--set=run=again"), "each has a name of its own"),
        (("--set=metrics.pod_monitor.enabled=true",), "set both"),
    ],
)
def test_values_that_contradict_each_other_are_refused(
    helm: Helm, spec: str, options: tuple[str, ...], said: str
) -> None:
    with pytest.raises(HelmError, match=said):
        helm.template("nightly", spec, *options)


def test_an_endpoint_with_credentials_is_refused_without_being_shown(helm: Helm, spec: str, tmp_path: Path) -> None:
    values = tmp_path / "values.yaml"
    values.write_text('cluster: {s3: {endpoint: "https://key:canary9f3@s3.example.org"}}')
    with pytest.raises(HelmError, match=r"cluster\.s3\.endpoint. holds credentials") as caught:
        helm.template("nightly", spec, f"--values={values}")
    assert "canary9f3" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        (ROOT / "examples" / "kubernetes.yaml").read_text(encoding="utf-8"),
        "a: 1e-4 # 0x10, no, ~\n\ttab \"quoted\" 'single' {{ .Values.store }} $(X) $$ \\n\r\n  <&> \u2028 \U0001f642",
        "\n\n  name: begins and ends with space  \n\n",
    ],
    ids=["example", "hostile", "space"],
)
def test_the_sweep_arrives_byte_for_byte(helm: Helm, tmp_path: Path, text: str) -> None:
    found = helm.template("nightly", spec_option(tmp_path, text), "--set=store=s3://bucket").one("ConfigMap")
    assert found["data"]["sweep.yaml"].encode() == text.encode()


def test_cluster_settings_arrive_as_the_controller_reads_them(helm: Helm, spec: str, operator_values: str) -> None:
    found = _settings(helm.template("nightly", spec, operator_values).objects)
    assert found.service_accounts.trial == "nightly-lorasweep-trial"
    assert found.s3.endpoint == "https://s3.example.org:9000"
    assert found.finished_ttl_s == 1_000_000
    assert found.pod_template.overlay()["spec"] == {
        "nodeSelector": {"zone": "on"},
        "securityContext": {"runAsUser": 1_000_660_000},
    }
    default = _settings(helm.template("nightly", spec).objects)
    accounts = {"controller": "nightly-lorasweep-controller", "trial": "nightly-lorasweep-trial"}
    assert default == ClusterSettings.model_validate({"image": "lorasweep-job:0.1.0", "service_accounts": accounts})


def test_a_gpu_resource_of_null_is_none_and_not_the_default(helm: Helm, spec: str) -> None:
    assert _settings(helm.template("nightly", spec, "--set=cluster.gpu_resource=null").objects).gpu_resource is None


def test_one_shot_is_a_job_that_keeps_its_end(helm: Helm, spec: str) -> None:
    found = helm.template("nightly", spec, "--set=store=s3://other/place,run=again")
    job = found.one("Job")
    assert not found.all("CronJob")
    assert re.fullmatch(r"nightly-lorasweep-[0-9a-f]{8}", job["metadata"]["name"])
    assert "ttlSecondsAfterFinished" not in job["spec"]
    assert "annotations" not in job["metadata"]
    assert not any("kueue" in label for label in job["metadata"]["labels"])
    assert job["spec"]["backoffLimit"] == 20
    assert job["spec"]["podFailurePolicy"]["rules"] == [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {"action": "Ignore", "onExitCodes": {"containerName": "controller", "operator": "In", "values": [85]}},
        {"action": "FailJob", "onExitCodes": {"containerName": "controller", "operator": "In", "values": [1, 2, 78]}},
    ]
    assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never"
    assert _arguments(job["spec"]) == (
        "run /etc/lorasweep/sweep.yaml --backend kubernetes --cluster /etc/lorasweep/cluster.yaml "
        "--owner nightly-lorasweep --store s3://other/place --run again"
    )


@pytest.mark.parametrize(
    "option",
    ["--set=cluster.image=other:1", "--set=controller.image=other:1", "--set=store=s3://other", "--set=run=again"],
)
def test_another_sweep_image_or_pod_is_another_job(helm: Helm, spec: str, tmp_path: Path, option: str) -> None:
    def name(*options: str) -> str:
        found: str = helm.template("nightly", *options).one("Job")["metadata"]["name"]
        return found

    (tmp_path / "wider").mkdir()
    assert name(spec) == name(spec)
    assert name(spec, option) != name(spec)
    assert name(spec_option(tmp_path / "wider", SWEEP + "# wider\n")) != name(spec)


def test_a_schedule_is_a_cron_job_whose_runs_ask_their_job_for_a_name(helm: Helm, spec: str) -> None:
    found = helm.template("nightly", spec, NIGHTLY, "--set=schedule.time_zone=Europe/Berlin")
    cron = found.one("CronJob")
    assert not found.all("Job")
    assert cron["metadata"]["name"] == "nightly-lorasweep"
    assert {key: value for key, value in cron["spec"].items() if key != "jobTemplate"} == {
        "schedule": "30 2 * * *",
        "timeZone": "Europe/Berlin",
        "concurrencyPolicy": "Forbid",
        "startingDeadlineSeconds": 3600,
        "successfulJobsHistoryLimit": 3,
        "failedJobsHistoryLimit": 3,
        "suspend": False,
    }
    job = cron["spec"]["jobTemplate"]["spec"]
    assert _arguments(job).endswith("--owner nightly-lorasweep --run-from-job $(LORASWEEP_JOB)")
    (container,) = job["template"]["spec"]["containers"]
    assert container["env"][-2] == {
        "name": "LORASWEEP_JOB_UID",
        "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['batch.kubernetes.io/controller-uid']"}},
    }
    assert container["env"][-1] == {
        "name": "LORASWEEP_JOB",
        "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['batch.kubernetes.io/job-name']"}},
    }


@pytest.mark.parametrize("release", ["x", "lorasweep", "a.b", "n" * 53, "n" * 52 + "m", "my-lorasweep-" + "y" * 40])
def test_names_fit_whatever_the_release_is_called(helm: Helm, spec: str, release: str) -> None:
    one_shot, nightly = helm.template(release, spec), helm.template(release, spec, NIGHTLY)
    job, cron = one_shot.one("Job")["metadata"]["name"], nightly.one("CronJob")["metadata"]["name"]
    assert len(job) <= 57  # 63 for a label value, less the "-xxxxx" of a pod
    assert len(cron) <= 52
    for one in (*one_shot.objects, *nightly.objects):
        assert re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", one["metadata"]["name"])
        assert all(len(value) <= 63 for value in one["metadata"]["labels"].values())


def test_releases_whose_long_names_begin_alike_do_not_meet(helm: Helm, spec: str) -> None:
    first, second = helm.template("n" * 52 + "a", spec), helm.template("n" * 52 + "b", spec)
    assert not _names(first.objects) & _names(second.objects)


def test_every_pod_meets_the_restricted_profile(helm: Helm, spec: str, operator_values: str) -> None:
    for options in ((), (NIGHTLY,), (*SWITCHES, operator_values)):
        pods = list(helm.template("nightly", spec, *options).pods())
        assert len(pods) == 2  # controller and preflight
        for pod in pods:
            assert pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
            assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
            assert all("hostPath" not in volume for volume in pod["volumes"])
            (container,) = pod["containers"]
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": True,
                "runAsNonRoot": True,
            }


def test_the_role_is_the_list_in_the_code_and_only_the_controller_has_it(helm: Helm, spec: str) -> None:
    found = helm.template("nightly", spec)
    assert found.one("Role")["rules"] == [
        {
            "apiGroups": [right.resource.api_group],
            "resources": [right.resource.plural + (f"/{right.subresource}" if right.subresource else "")],
            "verbs": list(right.verbs),
        }
        for right in CONTROLLER_RIGHTS
    ]
    assert found.one("RoleBinding")["subjects"] == [
        {"kind": "ServiceAccount", "name": "nightly-lorasweep-controller", "namespace": "sweeps"}
    ]
    assert all(not account["automountServiceAccountToken"] for account in found.all("ServiceAccount"))
    assert all(pod["automountServiceAccountToken"] for pod in found.pods())


def test_service_accounts_that_are_there_are_taken_and_not_made(helm: Helm, spec: str) -> None:
    named = "--set=cluster.service_accounts.controller=mine,cluster.service_accounts.trial=theirs"
    found = helm.template("nightly", spec, named)
    assert not found.all("ServiceAccount")
    assert found.one("RoleBinding")["subjects"][0]["name"] == "mine"
    assert {pod["serviceAccountName"] for pod in found.pods()} == {"mine"}
    assert _settings(found.objects).service_accounts.trial == "theirs"


def test_the_controller_reaches_store_and_hub_as_trials_do(helm: Helm, spec: str, operator_values: str) -> None:
    found = helm.template("nightly", spec, operator_values)
    job = found.one("Job")["spec"]["template"]
    (container,) = job["spec"]["containers"]
    values = {one["name"]: one.get("value") for one in container["env"]}
    secrets = {
        one["name"]: one["valueFrom"]["secretKeyRef"]
        for one in container["env"]
        if "secretKeyRef" in one.get("valueFrom", {})
    }
    assert values["AWS_ENDPOINT_URL_S3"] == "https://s3.example.org:9000"
    assert values["AWS_DEFAULT_REGION"] == "eu-1"
    assert values["HF_HUB_OFFLINE"] == "1"
    assert values["HTTPS_PROXY"] == "http://proxy:3128"
    assert secrets == {
        "AWS_ACCESS_KEY_ID": {"name": "keys", "key": "AWS_ACCESS_KEY_ID"},
        "AWS_SECRET_ACCESS_KEY": {"name": "keys", "key": "AWS_SECRET_ACCESS_KEY"},
        "AWS_SESSION_TOKEN": {"name": "keys", "key": "AWS_SESSION_TOKEN", "optional": True},
        "HF_TOKEN": {"name": "token", "key": "HF_TOKEN"},
    }
    assert {mount["mountPath"] for mount in container["volumeMounts"]} == {
        "/etc/lorasweep",
        "/home/lorasweep",
        "/tmp",  # noqa: S108  (a path in the pod)
        "/var/cache/huggingface",
        "/etc/ca",
    }
    assert job["metadata"]["labels"]["azure.workload.identity/use"] == "true"
    assert job["metadata"]["labels"]["app.kubernetes.io/name"] == "lorasweep"  # selectors rest on it
    assert job["metadata"]["annotations"] == {"note": "1"}
    assert job["spec"]["imagePullSecrets"] == [{"name": "registry"}]
    trial = found.named("ServiceAccount", "nightly-lorasweep-trial")
    assert trial["metadata"]["annotations"] == {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/trial"}


def test_no_key_of_a_secret_is_asked_for_where_none_is_named(helm: Helm, spec: str) -> None:
    (container,) = helm.template("nightly", spec).one("Job")["spec"]["template"]["spec"]["containers"]
    assert [one["name"] for one in container["env"]] == ["LORASWEEP_LOG", "LORASWEEP_JOB_UID"]


def test_helm_test_runs_preflight_and_leaves_nothing(helm: Helm, spec: str) -> None:
    pod = helm.template("nightly", spec, "--set=store=s3://other").one("Pod")
    assert " ".join(pod["spec"]["containers"][0]["args"]) == (
        "preflight /etc/lorasweep/sweep.yaml --backend kubernetes --cluster /etc/lorasweep/cluster.yaml --store s3://other"
    )
    policy = pod["metadata"]["annotations"]["helm.sh/hook-delete-policy"]
    assert policy == "before-hook-creation,hook-succeeded,hook-failed"


def test_notes_print_the_next_three_commands(helm_4: Helm, spec: str) -> None:
    notes = _notes(helm_4, spec)
    assert re.search(r"1\. follow it +kubectl -n sweeps logs -f job/nightly-lorasweep-[0-9a-f]{8}\n", notes)
    assert "3. read the report       lorasweep report s3://bucket/sweeps/dialogues/main\n" in notes
    assert "lorasweep report s3://other/dialogues/YYYYMMDD-HHMMz\n" in _notes(
        helm_4, spec, NIGHTLY, "--set=store=s3://other"
    )


@pytest.mark.parametrize(
    "text", ["- a\n- list\n", "name: x\nstore: s3://bucket\n", "name: 7\nstore: {root: 5}\n", "name: [\n7"]
)
def test_notes_survive_a_sweep_that_is_none(helm_4: Helm, tmp_path: Path, text: str) -> None:
    assert "is starting" in _notes(helm_4, spec_option(tmp_path, text), "--set=store=s3://bucket/sweeps")


@pytest.mark.parametrize("version", ["1.30.14", "v1.30.9-eks-1"])
def test_a_cluster_that_is_too_old_is_refused(helm: Helm, spec: str, version: str) -> None:
    with pytest.raises(HelmError, match="incompatible with Kubernetes"):
        helm("template", "nightly", str(CHART), spec, f"--kube-version={version}")


@pytest.mark.parametrize("version", ["1.31.0", "v1.33.2-gke.1000", "v1.37.2"])
def test_a_cluster_that_is_new_enough_is_taken(helm: Helm, spec: str, version: str) -> None:
    assert "kind: Job" in helm("template", "nightly", str(CHART), spec, f"--kube-version={version}")


def test_the_plain_manifests_are_those_of_the_chart(helm: Helm) -> None:
    for name, text in rendered(helm.program).items():
        assert (ROOT / "k8s" / name).read_text(encoding="utf-8") == text, f"{name}: run `make manifests`"


def _settings(objects: tuple[dict[str, Any], ...]) -> ClusterSettings:
    (text,) = (one["data"]["cluster.yaml"] for one in objects if "cluster.yaml" in one.get("data", {}))
    return parse_settings(text.encode(), name="cluster.yaml")


def _arguments(job: dict[str, Any]) -> str:
    return " ".join(job["template"]["spec"]["containers"][0]["args"])


def _names(objects: tuple[dict[str, Any], ...]) -> set[tuple[str, str]]:
    return {(one["kind"], one["metadata"]["name"]) for one in objects}


def _notes(helm: Helm, *options: str) -> str:
    words = ("install", "nightly", str(CHART), "--namespace=sweeps", "--dry-run=client", *options)
    return helm(*words).partition("NOTES:")[2]
