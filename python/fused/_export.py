"""Functions as folders and zip files: ``meta.json``, ``README.md``, the code and its headers; and back."""

from __future__ import annotations

import io
import json
import os
import re
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from fused._duration import format_duration
from fused.errors import SourceError
from fused.models.header import Header
from fused.models.udf import Udf

MEMBER_BYTES_MAX = 16 << 20
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


def load_folder(folder: Path) -> Udf:
    """A folder with ``meta.json``; without one, its only function, or the one in ``<folder>.py``."""
    if (folder / "meta.json").is_file():
        return _of_meta(lambda name: _member_of_folder(folder, name), str(folder))
    from fused._load import load_path

    named = folder / f"{folder.resolve().name}.py"
    candidates = sorted(path for path in folder.glob("*.py") if "fused.udf" in path.read_text("utf-8", "replace"))
    if named.is_file():
        return load_path(named)
    if len(candidates) == 1:
        return load_path(candidates[0])
    names = ", ".join(path.name for path in candidates)
    if candidates:
        raise SourceError(f"{str(folder)!r} holds several functions; load one of its files: {names}")
    raise SourceError(f"{str(folder)!r} holds neither meta.json nor a .py file with @fused.udf")


def load_zip(path: Path) -> Udf:
    """A zip that ``to_file`` or the official client wrote; the files may lie in one folder inside it."""
    try:
        with zipfile.ZipFile(path) as archive:
            metas = [name for name in archive.namelist() if PurePosixPath(name).name == "meta.json"]
            if len(metas) != 1:
                raise SourceError(f"{str(path)!r} holds {'no' if not metas else 'more than one'} meta.json")
            prefix = metas[0].removesuffix("meta.json")
            return _of_meta(lambda name: _member_of_zip(archive, prefix + name), str(path))
    except zipfile.BadZipFile as error:
        raise SourceError(f"{str(path)!r} is not a zip file: {error}") from None


def _member_of_folder(folder: Path, name: str) -> str:
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise SourceError(f"meta.json names {name!r}, which is outside of {str(folder)!r}")
    if path.stat().st_size > MEMBER_BYTES_MAX:
        raise SourceError(f"{str(path)!r} is larger than {MEMBER_BYTES_MAX >> 20} MiB")
    return path.read_text(encoding="utf-8")


def _member_of_zip(archive: zipfile.ZipFile, name: str) -> str:
    if archive.getinfo(name).file_size > MEMBER_BYTES_MAX:
        raise SourceError(f"{name!r} in the zip is larger than {MEMBER_BYTES_MAX >> 20} MiB")
    return archive.read(name).decode("utf-8")


def _of_meta(read: Callable[[str], str], where: str) -> Udf:
    try:
        meta = json.loads(read("meta.json"))
        config: Mapping[str, Any] = meta.get("job_config") or meta
        steps = [step for step in config["steps"] if step.get("type", "udf") == "udf"]
        if len(steps) != 1:
            raise SourceError(f"meta.json of {where!r} has {len(steps)} functions; exactly one can be loaded")
        record = dict(steps[0]["udf"])
        code = record.get("code") or read(str(record["source"])).removeprefix(_PREFIX)
        headers = [
            Header(
                each["module_name"], each.get("source_code") or read(str(each["source_file"])), each.get("source_file")
            )
            for each in record.get("headers") or []
        ]
    except SourceError:
        raise
    except FileNotFoundError as error:
        raise SourceError(f"meta.json of {where!r} names a file that is not there: {error.filename}") from None
    except (KeyError, TypeError, ValueError, AttributeError, OSError) as error:
        raise SourceError(f"meta.json of {where!r} cannot be read: {type(error).__name__}: {error}") from None
    udf = Udf.of_json({**record, "code": code.strip("\n"), "headers": []})
    udf.headers = headers
    return udf
