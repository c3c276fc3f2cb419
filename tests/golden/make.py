"""Makes the golden data folder of the on-disk version that the built server writes: tests/golden/v<VERSION>/.

Run once for a version, by hand, when the version is new; the folder is then kept for ever and opened by the tests
(core/http/endpoints/golden_test.cpp): what an older server wrote must stay readable. It is refused where the folder is
there already. The tokens in it open nothing but this folder.

    .venv/bin/python tests/golden/make.py
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from conftest import Server, start_server  # noqa: E402


def call(server: Server, method: str, path: str, body: object = None, token: str = "") -> dict[str, object]:
    request = urllib.request.Request(
        server.base_url + path,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {token or server.token}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as reply:
        return json.load(reply)


def function(slug: str, code: str) -> dict[str, object]:
    udf = {"name": slug, "type": "geopandas_v2", "code": code, "headers": [], "metadata": None, "parameters": {}}
    return {"slug": slug, "udf_body": json.dumps(udf), "udf_type": "auto", "allow_public_read": False}


def fill(server: Server) -> dict[str, object]:
    """Some of everything that is kept; what the test has to find again."""
    ann = call(server, "POST", "/api/v1/users", {"email": "ann@example.org", "username": "ann"})
    code = "import fused\n\n@fused.udf\ndef udf(n: int = 1):\n    return n"
    first = call(server, "POST", "/server/v1/udf/new", function("größe", code))
    call(server, "POST", f"/server/v1/udf/by-id/{first['id']}", function("größe", code + " + 1"))
    second = call(server, "POST", "/server/v1/udf/new", function("hers", code), str(ann["token"]))
    gone = call(server, "POST", "/server/v1/udf/new", function("gone", code))
    call(server, "DELETE", f"/server/v1/udf/by-id/{gone['id']}")
    new_token = "/server/v1/udf-access-token/new"
    shared = call(server, "POST", new_token, {"udf_id": first["id"], "metadata_json": {"for": "the map"}})
    revoked = call(server, "POST", new_token, {"udf_id": first["id"]})
    call(server, "DELETE", f"/server/v1/udf-access-token/by-token/{revoked['token']}")
    return {
        "owner_token": server.token,
        "member_token": ann["token"],
        "function_id": first["id"],
        "function_code": code + " + 1",
        "member_function_id": second["id"],
        "deleted_function_id": gone["id"],
        "share_token": shared["token"],
        "revoked_share_token": revoked["token"],
    }


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        server = start_server(data)
        facts = fill(server)
        server.process.terminate()
        server.process.wait()
        version = (data / "VERSION").read_text().strip()
        target = HERE / f"v{version}"
        if target.exists():
            sys.exit(f"{target} is there already: what an older server wrote is never written anew")
        shutil.copytree(data, target, ignore=shutil.ignore_patterns("lock"))
        (HERE / f"v{version}.json").write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n")
        print(f"made {target}: give golden_test.cpp its number")


if __name__ == "__main__":
    main()
