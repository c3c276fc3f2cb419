"""A short Ray job: what each node of the cluster is, one line of JSON behind a mark (``ray_front.look`` reads it)."""

from __future__ import annotations

import json
import os
import platform
from typing import Any

SECONDS = 60


def look_here(mount: str) -> dict[str, Any]:
    """Of the node that it runs on."""
    from fused._version import __version__

    told: dict[str, Any] = {"python": platform.python_version(), "fused": __version__, "error": None}
    try:
        import pyarrow  # noqa: F401  (loads the libraries that fused._native is linked against)

        from fused import _native  # noqa: F401
    except Exception as error:
        told["error"] = f"fused is not whole there: {type(error).__name__}: {error}; pip install 'fused-server[ray]'"
    if mount and not os.path.isdir(mount):
        told["error"] = f"there is no folder {mount} (--ray-mount)"
    return told


def main() -> None:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    from .ray_front import MARK

    ray.init(log_to_driver=False)
    nodes = [node for node in ray.nodes() if node["Alive"]]
    task = ray.remote(max_retries=0, num_cpus=0)(look_here)
    asked = []
    for node in nodes:
        pinned = NodeAffinitySchedulingStrategy(node_id=node["NodeID"], soft=False)
        asked.append(task.options(scheduling_strategy=pinned).remote(os.environ.get("FUSED_LOOK_MOUNT", "")))
    told = []
    for node, reference in zip(nodes, asked, strict=True):
        name = f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
        try:
            told.append({"name": name, **ray.get(reference, timeout=SECONDS)})
        except Exception as error:
            why = str(error).strip().splitlines()
            told.append({"name": name, "error": f"{type(error).__name__}: {why[-1] if why else ''}"[:500]})
    resources = [node["Resources"] for node in nodes]
    memory = [int(each.get("memory", 0)) for each in resources]
    sizes = {"cores": int(sum(each.get("CPU", 0) for each in resources)), "memory_bytes": sum(memory)}
    print(MARK + json.dumps({"nodes": told, **sizes, "node_memory_bytes": max(memory, default=0)}), flush=True)


if __name__ == "__main__":
    main()
