"""`make run`: start the server, save the examples, run each on real data and show what came back; keep serving."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# name, what the URL ends in behind the share token, what it shows
EXAMPLES = [
    ("cities_table", "/run/file.json?bounds=[-10,35,30,60]&population_min=1000000", "a table by bounding box"),
    ("cities_table", "/run/file.parquet?bounds=[-10,35,30,60]", "the same as Parquet"),
    ("cities_geojson", "/run/file.geojson?country=nl", "points as GeoJSON"),
    ("cities_density", "/run/tiles/2/2/1.png", "a density PNG tile"),
    ("cities_tiles", "/run/tiles/3/4/2.mvt", "a vector tile"),
    (
        "largest_since",
        "/run/file.csv?countries=[%22JP%22,%22MX%22]&per_country=2&as_of=2026-11-01",
        "typed parameters",
    ),
]


def wait_until_ready(process: subprocess.Popen[bytes], base: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            sys.exit(f"The server ended with exit code {process.returncode}; its message stands above.")
        try:
            with urllib.request.urlopen(base + "/health", timeout=2):
                return
        except OSError:
            time.sleep(0.05)
    sys.exit(f"The server did not answer {base}/health within {seconds:.0f} s.")


def save_examples(base: str, token: str) -> dict[str, str]:
    """Saves each example and gives it a share token; returns name → URL of the token."""
    os.environ.update(FUSED_BASE_URL=base, FUSED_AUTH_TOKEN=token)
    import fused

    urls = {}
    for name in dict.fromkeys(name for name, _, _ in EXAMPLES):
        function = fused.load(str(ROOT / "examples" / f"{name}.py"))
        function.name = name
        function.to_fused(overwrite=True)
        tokens = function.get_access_tokens()
        share = tokens[0] if tokens else function.create_access_token()
        urls[name] = f"{base}/server/v1/realtime-shared/{share.token}"
    return urls


def fetch(url: str) -> tuple[bytes, str, dict[str, object], float]:
    begin = time.perf_counter()
    try:
        with urllib.request.urlopen(url, timeout=120) as reply:
            body = reply.read()
            headers = reply.headers
    except urllib.error.HTTPError as error:
        sys.exit(f"{url}\nanswered {error.code}: {error.read().decode(errors='replace')}")
    seconds = time.perf_counter() - begin
    return body, headers["content-type"], json.loads(headers["x-fused-metadata"]), seconds


def amount(body: bytes, content_type: str) -> str:
    if content_type == "application/json":
        return f"{len(json.loads(body))} rows"
    if content_type == "application/geo+json":
        return f"{len(json.loads(body)['features'])} features"
    if content_type == "application/octet-stream":
        import io

        import pyarrow.parquet

        return f"{pyarrow.parquet.read_metadata(io.BytesIO(body)).num_rows} rows"
    return f"{len(body):,} bytes"


def show(urls: dict[str, str], data: Path) -> None:
    for name, rest, what in EXAMPLES:
        url = urls[name] + rest
        body, content_type, metadata, first = fetch(url)
        warm = min(fetch(url)[-1] for _ in range(4))  # each worker reads the data once
        if not body:
            sys.exit(f"{url}\nanswered nothing")
        print(f"\n{name}: {what}\n  {url}")
        print(f"  {amount(body, content_type)}, {content_type}, {first * 1e3:.0f} ms, warm {warm * 1e3:.1f} ms")
        print("  log: " + str(metadata["log_dir"]).replace("/mount/", f"{data}/mount/", 1))
    print("\nLook at the tiles on a map:")
    print(f"  {urls['cities_density']}/map?format=png")
    print(f"  {urls['cities_tiles']}/map?format=mvt")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data"), help="the server's data folder")
    parser.add_argument("--port", type=int, default=8783)
    parser.add_argument("--once", action="store_true", help="stop after the examples")
    arguments = parser.parse_args()
    data = arguments.data.resolve()
    base = f"http://127.0.0.1:{arguments.port}"
    command = [str(Path(sys.executable).parent / "fused"), "serve", "--data", str(data), "--port", str(arguments.port)]
    process = subprocess.Popen(command, env={"FUSED_LOG_LEVEL": "warn", **os.environ})
    try:
        wait_until_ready(process, base)
        show(save_examples(base, (data / "token").read_text().strip()), data)
        if arguments.once:
            return 0
        print(f"\nServing at {base} — stop with Ctrl-C. Token of the owner: {data}/token", flush=True)
        return process.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)


if __name__ == "__main__":
    sys.exit(main())
