#!/usr/bin/env bash
# Builds the fuzz targets with clang and runs each for so many seconds: tools/fuzz.sh SECONDS. FUZZ_SEED fixes the seed.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}
export PATH="$PWD/.venv/bin:$PATH"
[ -f fuzz/CMakeLists.txt ] || { echo "no fuzz targets"; exit 1; }
cmake --preset fuzz >/dev/null
ninja -C build/fuzz fuzz_targets >build/fuzz/build.log 2>&1 || { tail -40 build/fuzz/build.log; exit 1; }

run_one() {
  local seconds=$1 name corpus seeds=()
  name=$(basename "$2")
  corpus=build/fuzz/corpus-$name
  mkdir -p "$corpus"
  [ -d "fuzz/corpus/$name" ] && seeds=("fuzz/corpus/$name")
  if "$2" -seed="${FUZZ_SEED:-0}" -max_total_time="$seconds" -print_final_stats=1 -verbosity=0 "$corpus" "${seeds[@]}" >"build/fuzz/$name.log" 2>&1; then
    echo "$name: $(grep -oP 'stat::number_of_executed_units: \K\d+' "build/fuzz/$name.log") runs in ${seconds} s, no finding"
  else
    echo "$name: FINDING"; tail -30 "build/fuzz/$name.log"; return 1
  fi
}
export -f run_one
# One a core; xargs fails where one does.
find build/fuzz -maxdepth 1 -type f -executable -name 'fuzz_*' | sort | xargs -P "$(nproc)" -I{} bash -c "run_one $seconds {}"
