#!/usr/bin/env bash
# The C++ unit tests under AddressSanitizer with UBSan, and those with threads under ThreadSanitizer.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH"
failed=0
run() {  # run PRESET TEST...
  local preset=$1
  shift
  cmake --preset "$preset" >/dev/null
  ninja -C "build/$preset" "$@"
  for test in "$@"; do
    "build/$preset/$test" --gtest_brief=1 >"build/$preset/$test.log" 2>&1 && tail -1 "build/$preset/$test.log" ||
      { tail -60 "build/$preset/$test.log"; echo "FAILED under $preset: $test"; failed=1; }
  done
}
run dev base_test geo_test storage_test auth_test functions_test worker_test logs_test run_test http_test result_test
run tsan storage_test logs_test
exit $failed
