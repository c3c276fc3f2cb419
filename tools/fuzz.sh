#!/usr/bin/env bash
# Builds the fuzz targets with clang and runs each for so many seconds: tools/fuzz.sh SECONDS. FUZZ_SEED fixes the seed.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}
export PATH="$PWD/.venv/bin:$PATH"
[ -f fuzz/CMakeLists.txt ] || { echo "no fuzz targets"; exit 1; }
cmake --preset fuzz >/dev/null
ninja -C build/fuzz fuzz_targets >build/fuzz/build.log 2>&1 || { tail -40 build/fuzz/build.log; exit 1; }
failed=0
for target in build/fuzz/fuzz_*; do
  [ -x "$target" ] && [ ! -d "$target" ] || continue
  name=$(basename "$target")
  corpus=build/fuzz/corpus-$name
  mkdir -p "$corpus"
  seeds=()
  [ -d "fuzz/corpus/$name" ] && seeds=("fuzz/corpus/$name")
  if "$target" -seed="${FUZZ_SEED:-0}" -max_total_time="$seconds" -print_final_stats=1 -verbosity=0 "$corpus" "${seeds[@]}" >"build/fuzz/$name.log" 2>&1; then
    echo "$name: $(grep -oP 'stat::number_of_executed_units: \K\d+' "build/fuzz/$name.log") runs in ${seconds} s, no finding"
  else
    echo "$name: FINDING"; tail -30 "build/fuzz/$name.log"; failed=1
  fi
done
exit $failed
