#!/usr/bin/env bash
# Compiles the release preset into the checkout and makes `fused` of .venv/ mean this checkout.
set -euo pipefail
cd "$(dirname "$0")/.."
tools/dev

# The pages: our own files, MapLibre, and the coast lines as GeoJSON.
mkdir -p python/fused/web
cp web/preview/* web/node_modules/maplibre-gl/dist/maplibre-gl.css python/fused/web/
for part in maplibre-gl maplibre-gl-shared maplibre-gl-worker; do cp "web/node_modules/maplibre-gl/dist/$part.mjs" python/fused/web/; done
web/node_modules/.bin/topo2geo land=python/fused/web/land.json < web/node_modules/world-atlas/land-110m.json
.venv/bin/python web/cut_land.py python/fused/web/land.json
site=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
echo "$PWD/python" > "$site/fused-checkout.pth"
cat > .venv/bin/fused <<SCRIPT
#!$PWD/.venv/bin/python
import sys
from fused._cli import main
sys.exit(main())
SCRIPT
chmod +x .venv/bin/fused
