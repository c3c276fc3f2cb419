#!/usr/bin/env bash
# The unmodified official client against this server: both of its generations, each in an environment of its own.
#   tests/conformance/run.sh [version ...] [-- pytest options]      versions: 2.9.5 1.14.2 (both when none is named)
# Starts two servers (the usual limits; a wall limit of 1.5 s), runs the tests, ends both, prints the sum.
set -uo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
root="$(cd "$here/../.." && pwd)"
versions=()
while [ $# -gt 0 ] && [ "$1" != "--" ]; do versions+=("$1"); shift; done
[ "${1:-}" = "--" ] && shift
[ ${#versions[@]} -gt 0 ] || versions=(2.9.5 1.14.2)

# What the client decodes with; pandas 3 is newer than both clients allow for.
prepare() {
  local folder="$here/.venv-$1"
  [ -e "$folder/complete" ] && return 0
  echo "making the environment of client $1"
  "$root/.venv/bin/python" -m uv venv -q --clear --python "$root/.venv/bin/python" "$folder" &&
    "$root/.venv/bin/python" -m uv pip install -q --python "$folder/bin/python" "fused[vector,raster]==$1" \
      "pandas<3" pytest pytest-timeout nest_asyncio pillow && touch "$folder/complete"
}

work="$(mktemp -d)"
pids=()
finish() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null; done
  rm -rf "$work"
}
trap finish EXIT

# serve NAME [option ...]: its address and the owner's token come into url and token.
serve() {
  local name="$1"; shift
  "$root/.venv/bin/fused" serve --data "$work/$name" --host 127.0.0.1 --port 0 --workers 2 "$@" >"$work/$name.log" 2>&1 &
  pids+=($!)
  for _ in $(seq 600); do
    url="$(grep -oE 'http://127\.0\.0\.1:[0-9]+' "$work/$name.log" | head -1)"
    [ -n "$url" ] && [ -s "$work/$name/token" ] && break
    kill -0 "${pids[-1]}" 2>/dev/null || break
    sleep 0.1
  done
  [ -n "$url" ] || { echo "the server did not start:"; cat "$work/$name.log"; exit 1; }
  token="$(cat "$work/$name/token")"
}

for version in "${versions[@]}"; do
  prepare "$version" || { echo "client $version could not be installed; NOT TESTED"; exit 1; }
done
serve usual
export FUSED_CONFORMANCE_URL="$url" FUSED_CONFORMANCE_TOKEN="$token" FUSED_CONFORMANCE_DATA="$work/usual"
serve short --limit-wall-ms 1500
export FUSED_CONFORMANCE_SHORT_URL="$url" FUSED_CONFORMANCE_SHORT_TOKEN="$token"

run_version() {
  mkdir -p "$work/home-$1"
  # -I: neither this checkout nor a PYTHONPATH may stand before the installed client.
  env -u PYTHONPATH -u FUSED_BASE_URL HOME="$work/home-$1" PYTHONWARNINGS=ignore \
    "$here/.venv-$1/bin/python" -I -m pytest -p no:cacheprovider --rootdir "$here" --confcutdir "$here" \
    -c /dev/null --import-mode=importlib -q -rs --timeout 120 "${@:2}" "$here" >"$work/$1.out" 2>&1
}
failed=0 sum="" clients=()
for version in "${versions[@]}"; do
  run_version "$version" "$@" &
  clients+=($!)
done
for at in "${!versions[@]}"; do
  version="${versions[$at]}"
  wait "${clients[$at]}" || failed=1
  cat "$work/$version.out"
  sum+="client $version: $(grep -E '(passed|failed|error).* in [0-9.]+s' "$work/$version.out" | tail -1)"$'\n'
done
for name in usual short; do
  if grep -niE 'sanitizer|terminate called|assertion|segmentation' "$work/$name.log"; then failed=1; fi
done
if [ $failed = 1 ]; then grep -hE ' (error|warning) ' "$work"/usual.log "$work"/short.log | cut -c1-300 | tail -20; fi
if ! kill -0 "${pids[0]}" || ! kill -0 "${pids[1]}"; then echo "a server ended during the tests"; tail -20 "$work"/*.log; failed=1; fi
printf '%s' "$sum"
exit $failed
