#!/usr/bin/env bash
# Regenerates docs/reference/settings.md from `fused serve --help` and the /docs page from api/openapi.yaml.
set -euo pipefail
cd "$(dirname "$0")/.."
{
  echo "# Settings"
  echo "Made from \`fused serve --help\` by \`make docs\`. A flag wins over the environment variable in brackets, the variable over the TOML file of \`--config\` (long names without dashes in front: \`port = 9000\`). An unknown flag, an unknown name in the file and an impossible value stop the start with a message that names them; a variable \`FUSED_…\` that is no setting is warned about."
  echo
  echo '```'
  COLUMNS=110 python/fused/bin/fused-server --help
  echo '```'
} > docs/reference/settings.md
.venv/bin/python web/render_docs.py
