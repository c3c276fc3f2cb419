#!/usr/bin/env bash
# Compiles the release preset into the checkout and makes `fused` of .venv/ mean this checkout.
set -euo pipefail
cd "$(dirname "$0")/.."
tools/dev
site=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
echo "$PWD/python" > "$site/fused-checkout.pth"
cat > .venv/bin/fused <<SCRIPT
#!$PWD/.venv/bin/python
import sys
from fused._cli import main
sys.exit(main())
SCRIPT
chmod +x .venv/bin/fused
