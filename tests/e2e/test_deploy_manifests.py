"""The compose file and Kubernetes' manifests are valid, and training finds its daemon with them."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from boardd.settings.config import OPTIONS, Config
from compose_spec import PyCompose

DEPLOY = Path(__file__).parents[2] / "deploy"
COMPOSE = (DEPLOY / "compose.yaml").read_text()
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
CONTAINERFILE = (DEPLOY / "Containerfile").read_text()

VARIABLES = {option.variable for option in OPTIONS} | {"BOARDD_ADDRESS"}
#: What the image sets.
SOCKET, LOGDIR = "/run/boardd/boardd.sock", "/logs"


def interpolated(text: str) -> str:
    """A compose file with the defaults of its variables."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


def manifest(path: Path) -> dict[str, Any]:
    (document,) = yaml.safe_load_all(path.read_text())
    assert isinstance(document, dict)
    return document


def validate(document: dict[str, Any]) -> None:
    kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


def pod(name: str) -> dict[str, Any]:
    spec = manifest(DEPLOY / "kubernetes" / name)["spec"]["template"]["spec"]
    assert isinstance(spec, dict)
    return spec


def container(name: str, called: str) -> dict[str, Any]:
    spec = pod(name)
    containers = [*spec.get("initContainers", []), *spec["containers"]]
    (found,) = (each for each in containers if each["name"] == called)
    assert isinstance(found, dict)
    return found


def environment(of: dict[str, Any]) -> dict[str, str]:
    return {variable["name"]: variable["value"] for variable in of.get("env", [])}


def mounts(of: dict[str, Any]) -> dict[str, str]:
    return {mount["name"]: mount["mountPath"] for mount in of["volumeMounts"]}


def test_the_image_sets_what_the_manifests_rely_on() -> None:
    assert f"BOARDD_SOCKET={SOCKET}" in CONTAINERFILE
    assert f"BOARDD_LOGDIR_ROOT={LOGDIR}" in CONTAINERFILE


def test_the_compose_file_is_valid() -> None:
    names = PyCompose.from_yaml(interpolated(COMPOSE)).service_names()
    assert sorted(names) == ["boardd", "tensorboard", "training"]
    for good, bad in (
        ("cap_drop:", "capdrop:"),
        ("read_only: true", "read_only: perhaps"),
        ("service_healthy", "service_well"),
    ):
        assert good in COMPOSE
        with pytest.raises(ValueError, match=r"services\."):
            PyCompose.from_yaml(interpolated(COMPOSE).replace(good, bad))


def test_the_services_of_the_compose_file_share_the_socket_and_the_runs() -> None:
    compose = yaml.safe_load(interpolated(COMPOSE))
    services = compose["services"]
    boardd, training = services["boardd"], services["training"]
    assert set(boardd["volumes"]) == set(training["volumes"])
    assert f"socket:{Path(SOCKET).parent}" in boardd["volumes"]
    assert any(volume.endswith(f":{LOGDIR}") for volume in boardd["volumes"])
    assert training["environment"] == {"BOARDD_ADDRESS": f"unix:{SOCKET}"}
    assert len({service["user"] for service in services.values()}) == 1
    assert "mode=0700" in compose["volumes"]["socket"]["driver_opts"]["o"]
    assert boardd["read_only"]
    assert boardd["cpu_shares"] < 1024, "others have that"
    assert int(boardd["stop_grace_period"].rstrip("s")) > Config().drain_secs + 5
    assert (DEPLOY / boardd["build"]["context"] / boardd["build"]["dockerfile"]).exists()
    assert services["tensorboard"]["ports"] == ["127.0.0.1:6006:6006"], "it asks for no password"


def test_training_starts_soon_after_its_daemon() -> None:
    services = yaml.safe_load(interpolated(COMPOSE))["services"]
    awaited = {
        name
        for service in services.values()
        for name, of in service.get("depends_on", {}).items()
        if of["condition"] == "service_healthy"
    }
    assert awaited == {"boardd"}
    for name in awaited:
        check = services[name]["healthcheck"]
        assert check["test"] == ["CMD", "boardd", "status"]
        assert float(check["interval"].rstrip("s")) <= 2


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_kubernetes_would_take_the_manifest(path: Path) -> None:
    document = manifest(path)
    validate(document)
    broken = copy.deepcopy(document)
    broken["spec"]["template"]["spec"]["containers"][0]["volumeMount"] = []
    with pytest.raises(kubernetes_validate.ValidationError):
        validate(broken)


@pytest.mark.parametrize(
    ("daemons", "trainings"),
    [("sidecar.yaml", "sidecar.yaml"), ("daemonset.yaml", "node-job.yaml")],
)
def test_training_in_kubernetes_finds_its_daemon(daemons: str, trainings: str) -> None:
    daemon, training = container(daemons, "boardd"), container(trainings, "training")
    assert {*environment(daemon), *environment(training)} <= VARIABLES
    socket = environment(daemon).get("BOARDD_SOCKET", SOCKET)
    assert environment(training) == {"BOARDD_ADDRESS": f"unix:{socket}"}
    shared = {name: mounts(daemon)[name] for name in ("socket", "runs")}
    assert mounts(training) == shared
    assert Path(socket).is_relative_to(shared["socket"])
    assert shared["runs"] == LOGDIR
    users = {
        {**pod(name)["securityContext"], **each["securityContext"]}["runAsUser"]
        for name, each in ((daemons, daemon), (trainings, training))
    }
    assert len(users) == 1
    assert users != {0}
    if daemons != trainings:
        paths = {
            volume["hostPath"]["path"]
            for name in (daemons, trainings)
            for volume in pod(name)["volumes"]
            if volume["name"] == "socket"
        }
        assert len(paths) == 1


@pytest.mark.parametrize("name", ["sidecar.yaml", "daemonset.yaml"])
def test_the_daemon_in_kubernetes_is_confined_and_given_time(name: str) -> None:
    daemon = container(name, "boardd")
    context = daemon["securityContext"]
    assert context["readOnlyRootFilesystem"]
    assert not context["allowPrivilegeEscalation"]
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert {**pod(name)["securityContext"], **context}["runAsNonRoot"]
    assert "/tmp" in mounts(daemon).values()
    assert daemon["livenessProbe"]["exec"]["command"] == ["boardd", "status"]
    assert "memory" in daemon["resources"]["limits"]
    assert pod(name)["terminationGracePeriodSeconds"] > Config().drain_secs + 5
