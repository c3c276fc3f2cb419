#!/usr/bin/env bash
# One wheel, installed in an empty environment without compiler, runs a function over HTTP.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH"
folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$folder"' EXIT
.venv/bin/python -m pip wheel -q --no-build-isolation --no-deps -w "$folder" .
.venv/bin/python -m venv "$folder/env"
.venv/bin/python -m uv pip install -q -p "$folder/env/bin/python" "$folder"/*.whl
mkdir "$folder/functions"
printf 'import fused\n@fused.udf\ndef udf(n: int = 2):\n    import pandas as pd\n    return pd.DataFrame({"n": [n, n * n]})\n' >"$folder/functions/squares.py"
cd "$folder"
env -i HOME="$folder" PATH=/usr/bin:/bin CC=false CXX=false "$folder/env/bin/fused" serve functions --data data --port 0 --log-level warn >out.txt 2>&1 &
server=$!
for _ in $(seq 200); do grep -q 'serves http' out.txt && break; sleep 0.1; done
url=$(grep -oP 'serves \Khttp://[^ ]+' out.txt)
body=$(curl -sf -H "Authorization: Bearer $(cat data/token)" "$url/api/v1/run/owner@localhost/squares.json?n=7")
[ "$body" = '[{"n":7},{"n":49}]' ] && echo "wheel: 1 passed, 0 failed" || { echo "wheel answered '$body'"; cat out.txt; exit 1; }
