"""The manifests for KubeRay: of its schema, complete, with studies that fit their nodes."""

from __future__ import annotations

import copy
import json
import re
import shlex
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer.main

import tasearch
from tasearch.cli.commands import app
from tasearch.config.study import Study
from tasearch.config.study_file import parse_study
from tasearch.train.workers.ray_cluster import Resources
from tests.helpers.kuberay import MANIFESTS, SCHEMA, manifests
from tests.helpers.packages import package

ROOT = MANIFESTS.parents[1]
JOBS = sorted(MANIFESTS.glob("rayjob*.yaml"))
TRAININGS = {"rayjob.yaml": 2, "rayjob-gpu.yaml": 4}  # on each node, as the manifests say
GIBIBYTE = 2**30


def job(file: Path) -> dict[str, Any]:
    (found,) = [entry for entry in manifests(file) if entry["kind"] == "RayJob"]
    return found


def study(file: Path) -> Study:
    (found,) = [entry for entry in manifests(file) if entry["kind"] == "ConfigMap"]
    return parse_study(tomllib.loads(found["data"]["study.toml"]))


def groups(job: dict[str, Any]) -> list[dict[str, Any]]:
    cluster = job["spec"]["rayClusterSpec"]
    return [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]


def validate(job: dict[str, Any]) -> None:
    package("jsonschema").validate(job, json.loads(SCHEMA.read_text("utf-8")))


@pytest.mark.parametrize("file", JOBS, ids=lambda file: file.name)
def test_jobs_are_of_kuberays_schema(file: Path) -> None:
    assert job(file)["apiVersion"] == "ray.io/v1"
    validate(job(file))


@pytest.mark.parametrize(
    "damage",
    [
        lambda spec: spec.update(backOffLimit=5),
        lambda spec: spec.update(backoffLimit="5"),
        lambda spec: spec["rayClusterSpec"].pop("headGroupSpec"),
        lambda spec: spec["rayClusterSpec"]["authOptions"].update(mode="tokens"),
        lambda spec: spec["rayClusterSpec"]["headGroupSpec"]["rayStartParams"].update(cpus=0),
        lambda spec: spec["rayClusterSpec"]["workerGroupSpecs"][0].pop("groupName"),
    ],
)
def test_schema_refuses_damaged_jobs(damage: Callable[[Any], object]) -> None:
    found = copy.deepcopy(job(JOBS[0]))
    damage(found["spec"])
    with pytest.raises(package("jsonschema").ValidationError):
        validate(found)


@pytest.mark.parametrize("file", JOBS, ids=lambda file: file.name)
def test_jobs_name_what_is_there(file: Path) -> None:
    """Volumes, claims, the study, versions; and all nodes see the same folders."""
    names = {entry["metadata"]["name"] for entry in manifests(file)}
    names |= {entry["metadata"]["name"] for entry in manifests(MANIFESTS / "storage.yaml")}
    mounted = []
    for group in groups(job(file)):
        spec = group["template"]["spec"]
        (container,) = spec["containers"]
        assert container["image"] == f"REGISTRY/tasearch:{tasearch.__version__}"
        mounted.append(container["volumeMounts"])
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        assert {mount["name"] for mount in container["volumeMounts"]} == volumes.keys()
        assert volumes["runs"]["persistentVolumeClaim"]["claimName"] in names
        assert volumes["study"]["configMap"]["name"] in names
    assert all(mounts == mounted[0] for mounts in mounted)
    versions = re.findall(r"^ray==(\S+)$", (ROOT / "constraints.txt").read_text("utf-8"), re.M)
    assert [job(file)["spec"]["rayClusterSpec"]["rayVersion"]] == versions


@pytest.mark.parametrize("file", JOBS, ids=lambda file: file.name)
def test_jobs_run_a_command_that_exists(file: Path) -> None:
    name, command, *arguments = shlex.split(job(file)["spec"]["entrypoint"])
    assert (name, command) == ("tasearch", "run")
    known = typer.main.get_command(app).commands[command]  # type: ignore[attr-defined]
    values = known.make_context(command, arguments).params
    folders = [
        mount["mountPath"]
        for mount in groups(job(file))[0]["template"]["spec"]["containers"][0]["volumeMounts"]
    ]
    assert str(values["runs_dir"]) in folders
    assert values["engine"] == "ray"


@pytest.mark.parametrize("file", JOBS, ids=lambda file: file.name)
def test_trainings_fit_the_nodes(file: Path) -> None:
    """As many as the manifest says, and none on the head, where the driver measures."""
    head, workers = groups(job(file))
    device = "cuda" if "--device cuda" in job(file)["spec"]["entrypoint"] else "cpu"
    wanted = Resources.of(study(file), device)
    assert wanted.slots(node(workers)) == TRAININGS[file.name]
    assert wanted.slots(node(head)) == 0


def node(group: dict[str, Any]) -> dict[str, float]:
    """What KubeRay has Ray count on a node of a group: the limits of its container."""
    limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
    found = {"CPU": limits["cpu"], "GPU": limits.get("nvidia.com/gpu", 0)}
    own = {name.upper(): group["rayStartParams"].get(f"num-{name}s") for name in ("cpu", "gpu")}
    counted = {
        name: float(amount if own[name] is None else own[name]) for name, amount in found.items()
    }
    return counted | {"memory": float(limits["memory"].removesuffix("Gi")) * GIBIBYTE}
