#!/usr/bin/env bash
# Every room's unit tests under AddressSanitizer (with leaks) and UBSan, and those of the rooms that have threads under
# ThreadSanitizer. Part of `make test-long`; minutes of compiling the first time, into build/dev and build/tsan.
# `tools/test_sanitizers.sh dev|tsan [room …]` does a part. JOBS: compilers at once (default: half of the cores).
set -uo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH"
jobs=${JOBS:-$((($(nproc) + 1) / 2))}
rooms=$(ls core/*/*_test.cpp | cut -d/ -f2 | sort -u)
threaded="base storage auth functions logs worker run jobs batch http"
failed=0
mkdir -p build

# What is found ends the program with a stack. The zygote, a Python process, is neither instrumented nor waited for.
export ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1:check_initialization_order=1:abort_on_error=0
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1

run() {  # run PRESET ROOM...
  local preset=$1 room log
  shift
  cmake --preset "$preset" >"build/$preset.log" 2>&1 || { cat "build/$preset.log"; failed=1; return; }
  nice -n 10 ninja -j "$jobs" -k 0 -C "build/$preset" "${@/%/_test}" >"build/$preset.log" 2>&1 ||
    { grep -E "FAILED|error|warning" -A 5 "build/$preset.log" | head -60; echo "FAILED: build of $preset"; failed=1; }
  for room in "$@"; do
    log="build/$preset/${room}_test.log"
    if [ ! -x "build/$preset/${room}_test" ]; then
      echo "FAILED under $preset: ${room}_test is not there"
      failed=1
    elif timeout 900 "build/$preset/${room}_test" --gtest_brief=1 >"$log" 2>&1; then
      echo "$preset $room: $(tail -1 "$log")"
    else
      tail -100 "$log"
      echo "FAILED under $preset: ${room}_test"
      failed=1
    fi
  done
}

case "${1:-all}" in
  all) run dev $rooms; run tsan $threaded ;;
  dev) shift; run dev ${@:-$rooms} ;;
  tsan) shift; run tsan ${@:-$threaded} ;;
  *) echo "usage: tools/test_sanitizers.sh [dev|tsan [room ...]]; rooms: ${rooms//$'\n'/ }"; exit 2 ;;
esac
[ $failed = 0 ] && echo "sanitizers: all passed" || echo "sanitizers: FAILED (see above)"
exit $failed
