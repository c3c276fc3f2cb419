#!/usr/bin/env bash
# `make test` and `make test-long` (FUSED_TEST_LONG=1): unit tests beside the code, whole flows, contracts, the official
# clients. Ends with one line of the sums.
set -uo pipefail
cd "$(dirname "$0")/.."
failed=0
if [ "${FUSED_TEST_LONG:-}" != 1 ]; then echo "make test runs a tenth of each long count and 5 s of each fuzz target; make test-long runs them whole"; fi

section() { printf '\n== %s (after %d min %02d s)\n' "$1" $((SECONDS / 60)) $((SECONDS % 60)); }

section "C++ unit tests"
run_program() {  # what it counted, and its last line; all of it where it failed
  local log
  log="build/$(basename "$1").log"
  if "$1" --gtest_brief=1 >"$log" 2>&1; then grep -hE "^[0-9,]+ (seeds|kills)" "$log"; echo "$(basename "$1") $(tail -1 "$log")"; else cat "$log"; echo "FAILED: $1"; return 1; fi
}
export -f run_program
find build/release -maxdepth 1 -name '*_test' -executable | sort | xargs -P "$(nproc)" -I{} bash -c 'run_program {}' || failed=1

section "layout"
bash tools/check.sh layout || failed=1

section "Python tests"
.venv/bin/python -m pytest -q -n 2 --dist loadfile --durations=15 tests --ignore=tests/conformance --ignore=tests/tidy || failed=1

section "official clients"
bash tests/conformance/run.sh || failed=1

section "fuzz"
FUZZ_SEED=$([ "${FUSED_TEST_LONG:-}" = 1 ] && echo 0 || echo 1) bash tools/fuzz.sh "$([ "${FUSED_TEST_LONG:-}" = 1 ] && echo 60 || echo 5)" || failed=1

if [ "${FUSED_TEST_LONG:-}" = 1 ]; then
  section "sanitizers and wheel"
  bash tools/test_sanitizers.sh || failed=1
  bash tools/test_wheel.sh || failed=1
fi
[ $failed = 0 ] && echo "all of make test passed" || echo "make test: FAILED (see above)"
exit $failed
