#!/usr/bin/env bash
# Formatting, lint, types and layout. `tools/check.sh layout` does the last alone.
set -uo pipefail
cd "$(dirname "$0")/.."
failed=0

# clang-tidy over the sources that differ from $SINCE (the last commit but one) with what is not committed yet;
# SINCE=all: over all of core/.
tidy() {
  if [ ! -f build/release/compile_commands.json ]; then
    echo "clang-tidy: not run, there is no build/release yet (make build)"
    return 0
  fi
  local since=${SINCE:-HEAD~1} files
  if [ "$since" = all ]; then files=$(git ls-files 'core/*.cpp'); else files=$(git diff --name-only --diff-filter=d "$since" -- 'core/*.cpp'); fi
  files=$(grep -v _test.cpp <<<"$files")
  [ -z "$files" ] && return 0
  xargs -P 2 -n 2 clang-tidy-19 -quiet -p build/release --warnings-as-errors='*' <<<"$files" 2>build/tidy.log
}

.venv/bin/python -m pytest -q tests/tidy || failed=1
if [ "${1:-}" != layout ]; then
  git ls-files 'core/*.cpp' 'core/*.hpp' | xargs -r clang-format-19 --dry-run -Werror || failed=1
  .venv/bin/ruff check python tests tools bench examples || failed=1
  .venv/bin/ruff format --check python tests tools bench examples || failed=1
  .venv/bin/mypy --strict python/fused || failed=1
  tidy || failed=1
fi
exit $failed
