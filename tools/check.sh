#!/usr/bin/env bash
# Formatting, lint, types and layout. `tools/check.sh layout` does the last alone.
set -uo pipefail
cd "$(dirname "$0")/.."
failed=0
.venv/bin/python -m pytest -q tests/tidy || failed=1
if [ "${1:-}" != layout ]; then
  git ls-files 'core/*.cpp' 'core/*.hpp' | xargs -r clang-format-19 --dry-run -Werror || failed=1
  .venv/bin/ruff check python tests tools bench examples || failed=1
  .venv/bin/ruff format --check python tests tools bench examples || failed=1
  .venv/bin/mypy --strict python/fused || failed=1
  [ -f build/release/compile_commands.json ] && git ls-files 'core/*.cpp' | grep -v _test.cpp | xargs -r -P 2 -n 4 clang-tidy-19 -quiet -p build/release --warnings-as-errors='*' || true
fi
exit $failed
