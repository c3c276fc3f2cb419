#!/usr/bin/env bash
# Installs what is missing: Debian packages (only those not there yet), then the Python environment .venv/.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:-python3}

as_root=()
[ "$(id -u)" -eq 0 ] || as_root=(sudo)
export DEBIAN_FRONTEND=noninteractive
missing=()
while read -r package; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done < tools/apt-packages.txt
if [ ${#missing[@]} -gt 0 ]; then
  echo "setup: installing Debian packages: ${missing[*]}"
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

if ! command -v npm >/dev/null; then
  echo "setup: installing Debian packages: nodejs npm"
  "${as_root[@]}" apt-get install -y -qq --no-install-recommends nodejs npm >/dev/null
fi
echo "setup: installing what the pages load"
npm ci --prefix web --loglevel=error --no-progress --no-fund --no-audit

if [ ! -x .venv/bin/python ]; then
  echo "setup: creating .venv with $("$python" --version)"
  "$python" -m venv .venv
fi
.venv/bin/python -c 'import uv' 2>/dev/null || .venv/bin/python -m pip install -q uv
echo "setup: installing Python packages"
.venv/bin/python -m uv pip install -q -p .venv/bin/python -r pyproject.toml --extra geo --extra dev \
  "scikit-build-core>=0.11" nanobind==3.1.0 pyarrow==26.0.1 ninja
