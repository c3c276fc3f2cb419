"""Functions as folders and zips: ``meta.json``, ``README.md``, code and headers (``_load_tree`` reads them)."""

from __future__ import annotations

import io
import json
import os
import re
import tempfile
import zipfile
from pathlib import Path

from fused._duration import format_duration
from fused.models.udf import Udf

_PREFIX = "import fused\n\n\n"  # so that the file is Python by itself


def files_of(udf: Udf) -> dict[str, str]:
    """File names and texts of a Udf."""
    stem = file_stem(udf.name)
    record = udf.to_json()
    headers = []
    files = {f"{stem}.py": _PREFIX + udf.code + "\n"}
    for header in udf.headers:
        file = f"{header.module_name}.py"
        if file in files:
            raise ValueError(f"header {header.module_name!r} and the function {udf.name!r} would be one file, {file}")
        files[file] = header.source_code
        headers.append({"module_name": header.module_name, "source_file": file})
    del record["code"]
    record |= {"source": f"{stem}.py", "headers": headers}
    step = {"type": "udf", "name": udf.name, "udf": record}
    meta = {"job_config": {"name": udf.name, "steps": [step], "metadata": None}}
    files["meta.json"] = json.dumps(meta, indent=2, ensure_ascii=False) + "\n"
    files["README.md"] = _readme(udf, stem)
    return files


def file_stem(name: str) -> str:
    """A file name that a function's name can have everywhere."""
    return re.sub(r"[^\w.-]+", "_", name).strip(".") or "udf"


def _readme(udf: Udf, stem: str) -> str:
    about = f"\n{udf.described.docstring}\n" if udf.described.docstring else ""
    age = f"\nResults are kept for {format_duration(udf.cache_max_age)}.\n" if udf.cache_max_age is not None else ""
    parameters = ", ".join(udf.described.parameters) or "none"
    return (
        f"# {udf.name}\n{about}\nParameters: {parameters}.\n{age}\n```python\nimport fused\n\n"
        f'{udf.entrypoint} = fused.load("./{stem}")\nfused.run({udf.entrypoint})\n```\n'
    )


def to_directory(udf: Udf, where: str | Path | None, overwrite: bool) -> Path:
    """``Udf.to_directory``; ``FileExistsError`` for a folder that is not empty, unless ``overwrite``."""
    folder = Path(where).expanduser() if where is not None else Path.cwd() / file_stem(udf.name)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())) and not overwrite:
        raise FileExistsError(f"{str(folder)!r} is there already; overwrite=True replaces its files")
    files = files_of(udf)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        _write(folder / name, text.encode())
    return folder


def to_file(udf: Udf, where: str | Path, overwrite: bool) -> Path:
    """``Udf.to_file``: a ``.zip``, or the code alone as ``.py``."""
    path = Path(where).expanduser()
    if path.exists() and not overwrite:
        raise FileExistsError(f"{str(path)!r} is there already; overwrite=True replaces it")
    if path.suffix == ".py":
        if udf.headers:
            names = ", ".join(header.module_name for header in udf.headers)
            raise ValueError(
                f"{udf.name!r} has headers ({names}), which one .py file cannot hold; write a .zip or a folder"
            )
        _write(path, (_PREFIX + udf.code + "\n").encode())
    elif path.suffix == ".zip":
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, text in files_of(udf).items():
                archive.writestr(zipfile.ZipInfo(name), text)  # no times: equal functions give equal files
        _write(path, content.getvalue())
    else:
        raise ValueError(f"{str(path)!r}: functions are written as .zip or .py; to_directory writes a folder")
    return path


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
