"""KubeRay's schema of a RayJob, without the fields that our manifests do not use.

`python -m tests.helpers.kuberay CRD` writes `kuberay.json` anew, where CRD is the file
`helm-chart/kuberay-operator/crds/ray.io_rayjobs.yaml` of github.com/ray-project/kuberay, whose
license is Apache 2.0. The present one is of the commit feeaf72facab4881ba2b179248bb67315634e229.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.helpers.packages import package

MANIFESTS = Path(__file__).parents[2] / "docs/kuberay"
SCHEMA = Path(__file__).with_suffix(".json")
KEPT = ("type", "enum", "required", "minimum", "maximum", "pattern", "anyOf")


def manifests(file: Path) -> list[dict[str, Any]]:
    """The objects of a manifest."""
    return [*package("yaml").safe_load_all(file.read_text("utf-8"))]


def trimmed(schema: dict[str, Any], values: Sequence[Any]) -> dict[str, Any]:
    """A schema that knows no fields but those that these values have and the whole schema knows."""
    found = {name: schema[name] for name in KEPT if name in schema}
    if "properties" in schema:
        used = {name for value in values for name in value}
        found["properties"] = {
            name: trimmed(own, [value[name] for value in values if name in value])
            for name, own in sorted(schema["properties"].items())
            if name in used
        }
        found["additionalProperties"] = False
    elif "additionalProperties" in schema:
        inner = [entry for value in values for entry in value.values()]
        found["additionalProperties"] = trimmed(schema["additionalProperties"], inner)
    if "items" in schema:
        found["items"] = trimmed(schema["items"], [entry for value in values for entry in value])
    return found


def main() -> None:
    """Write the schema."""
    (crd,) = manifests(Path(sys.argv[1]))
    (whole,) = [v["schema"]["openAPIV3Schema"] for v in crd["spec"]["versions"] if v["storage"]]
    found = [job for file in MANIFESTS.glob("rayjob*.yaml") for job in manifests(file)]
    schema = trimmed(whole, [job for job in found if job["kind"] == "RayJob"])
    schema["properties"]["metadata"] = {"type": "object"}  # of Kubernetes, not of KubeRay
    SCHEMA.write_text(json.dumps(schema, indent=1) + "\n")


if __name__ == "__main__":
    main()
