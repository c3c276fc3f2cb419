"""What `import fused` costs, and what works without the native part."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import fused

ROOT = Path(fused.__file__).parents[2]
HEAVY = [
    "numpy",
    "pandas",
    "requests",
    "urllib3",
    "pyarrow",
    "geopandas",
    "shapely",
    "pyogrio",
    "rasterio",
    "asyncio",
    "pydantic",
    "fused._native",
]


def python(code: str, *options: str) -> str:
    done = subprocess.run(
        [sys.executable, *options, "-c", code],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(ROOT / "python"), "PATH": "/usr/bin:/bin", "FUSED_HOME": "/nonexistent"},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_brings_nothing_heavy() -> None:
    loaded = python("import sys, fused; print(*sys.modules)").split()
    assert not set(HEAVY) & set(loaded)


def test_decorating_and_describing_brings_nothing_heavy() -> None:
    code = "import sys, fused\n@fused.udf(schema='n:int64')\ndef udf(n: int = 1): return n\n"
    loaded = python(code + "repr(udf), udf.code, udf(n=2)\nprint(*sys.modules)").split()
    assert not set(HEAVY) - {"asyncio"} & set(loaded)


def test_the_command_starts_without_heavy_imports() -> None:
    code = "import sys\nfrom fused._cli import make_parser\nmake_parser().format_help()\nprint(*sys.modules)"
    assert not set(HEAVY) & set(python(code).split())


def test_client_parts_import_with_the_native_part_hidden() -> None:
    code = """
import sys
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name == "fused._native":
            raise ImportError("hidden")
sys.meta_path.insert(0, Hide())
import fused
for name in fused.__all__:
    getattr(fused, name)
for name in fused.models.__all__:
    getattr(fused.models, name)
import fused._run.remote, fused._run.decode, fused._saved, fused._load, fused._export, fused.api
from fused._cli import login, logs, run, token, udf
@fused.udf
def f(n: int = 1): return n + 1
print(fused.run(f, n="2"))
"""
    assert python(code).strip() == "3"


def test_all_public_names_exist_and_unknown_ones_are_named() -> None:
    for name in fused.__all__:
        assert getattr(fused, name) is not None
    with pytest.raises(AttributeError, match=r"has no attribute 'submitt'; it has .*run"):
        _ = fused.submitt  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match=r"fused\.models.*it has .*Schema"):
        _ = fused.models.Nothing  # type: ignore[attr-defined]


def test_the_seeds_model_names_are_there() -> None:
    names = ["Schema", "Header", "GeoPandasUdfV2", "Udf", "UdfJobStepConfig", "UdfAccessToken", "AnyBaseUdf"]
    assert set(names) <= set(fused.models.__all__)
    assert fused.models.GeoPandasUdfV2 is fused.models.Udf is fused.models.AnyBaseUdf


def test_python_and_cmake_say_the_same_version() -> None:
    cmake = (ROOT / "CMakeLists.txt").read_text()
    match = re.search(r"project\(\w+ VERSION ([\d.]+)", cmake)
    assert match is not None
    assert match[1] == fused.__version__
