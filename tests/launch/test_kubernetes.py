"""The manifests, as far as they can be held without a cluster: against the published schema and the code they start."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from launch.config import parse_config
from pipeline.sharding.part import Part, part_of_environment

FOLDER = Path(__file__).parents[2] / "launch" / "kubernetes"


def manifests(name: str) -> dict[str, dict[str, Any]]:
    documents = yaml.safe_load_all((FOLDER / name).read_text())
    return {f"{each['kind']}/{each['metadata']['name']}": each for each in documents}


def container(job: dict[str, Any]) -> dict[str, Any]:
    return job["spec"]["template"]["spec"]["containers"][0]  # type: ignore[no-any-return]


def variables(job: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each["value"] for each in container(job)["env"] if "value" in each}


@pytest.mark.parametrize("name", ["train.yaml", "shard.yaml"])
def test_kubernetes_own_schema_takes_them(name: str) -> None:
    """Strictly: a field that there is not is refused, as a misspelt one shows."""
    schema = pytest.importorskip("kubernetes_validate")
    for version in ("1.27.0", schema.latest_version()):
        for manifest in manifests(name).values():
            schema.validate(manifest, version, strict=True)
    job = next(each for each in manifests(name).values() if each["kind"] == "Job")
    job["spec"]["complitions"] = 4
    with pytest.raises(schema.ValidationError, match="complitions"):
        schema.validate(job, schema.latest_version(), strict=True)


def test_the_pods_of_a_training_find_each_other() -> None:
    found = manifests("train.yaml")
    job, service = found["Job/n2n-train"], found["Service/n2n-train"]
    assert variables(job)["NODES"] == str(job["spec"]["completions"]) == str(job["spec"]["parallelism"])
    assert job["spec"]["template"]["spec"]["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    assert variables(job)["HEAD"].startswith(f"{job['metadata']['name']}-0.{service['metadata']['name']}:")


def test_the_training_s_arguments_are_ours() -> None:
    config = parse_config(container(manifests("train.yaml")["Job/n2n-train"])["args"])
    assert config.data.train == "/data/shards"


def test_every_pod_writes_a_part_of_its_own() -> None:
    job = manifests("shard.yaml")["Job/n2n-shard"]
    parts = [
        part_of_environment(variables(job) | {"JOB_COMPLETION_INDEX": str(index)})
        for index in range(job["spec"]["completions"])
    ]
    assert parts == [Part(index, 16) for index in range(16)]
