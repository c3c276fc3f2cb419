#!/usr/bin/env bash
# `make test` and `make test-long` (FUSED_TEST_LONG=1): unit tests beside the code, whole flows, contracts, the official
# clients. Ends with one line of the sums.
set -uo pipefail
cd "$(dirname "$0")/.."
failed=0
export FUSED_TEST_TENTH=1
if [ "${FUSED_TEST_LONG:-}" = 1 ]; then export FUSED_TEST_TENTH=0; else echo "make test runs a tenth of each long count and 5 s of each fuzz target; make test-long runs them whole"; fi

section() { printf '\n== %s (after %d min %02d s)\n' "$1" $((SECONDS / 60)) $((SECONDS % 60)); }

section "C++ unit tests"
for program in build/release/*_test; do
  [ -x "$program" ] || continue
  "$program" --gtest_brief=1 >"build/$(basename "$program").log" 2>&1 && tail -1 "build/$(basename "$program").log" || { cat "build/$(basename "$program").log"; echo "FAILED: $program"; failed=1; }
done

section "layout"
bash tools/check.sh layout || failed=1

section "Python tests"
.venv/bin/python -m pytest -q --durations=15 tests --ignore=tests/conformance --ignore=tests/tidy || failed=1

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
