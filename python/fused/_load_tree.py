"""Functions in folders, wherever the folder is: on disk, in a zip file, in a git repository.

The layouts of public function folders: ``meta.json`` with the code's file and its headers (``utils.py``) beside it, in
both of its generations; a folder with a Python file and what that imports from beside itself; and folders of such
folders.
"""

from __future__ import annotations

import ast
import json
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from fused._load_registry import UdfRegistry
from fused._source import FunctionNode, udf_decorator
from fused._used_files import used
from fused.errors import SourceError
from fused.models.header import Header
from fused.models.udf import Udf

MEMBER_BYTES_MAX = 16 << 20
DEPTH_MAX = 5
FOLDERS_MAX = 5000
_LEFT_OUT = frozenset({"node_modules", "__pycache__", "tests", "test", "site-packages"})


class Tree(Protocol):
    """Files by paths with ``/``, relative to the tree's top (``""``)."""

    where: str

    def entries(self, folder: str) -> tuple[list[str], list[str]]:
        """Names of the files and of the folders in a folder, sorted."""

    def read(self, path: str) -> str:
        """A file's text; ``FileNotFoundError``, or ``SourceError`` for what cannot be read."""


def load_tree(tree: Tree, folder: str = "", name: str | None = None) -> Udf | UdfRegistry:
    """The function in a folder, or all of them when there are several. ``SourceError`` when there is none."""
    budget = [FOLDERS_MAX]
    found = _find(tree, folder.strip("/"), name, 0, budget)
    if not found:
        raise SourceError(f"{_shown(tree, folder)!r} holds neither meta.json nor a .py file with @fused.udf")
    if len(found) == 1:
        return next(iter(found.values()))()
    return UdfRegistry(found, _shown(tree, folder))


def load_file(tree: Tree, path: str) -> Udf:
    """The function in one file of a tree, with what it imports from beside itself."""
    folder, _, file = path.rpartition("/")
    if not file.endswith(".py"):
        raise SourceError(f"{path!r} is no .py file")
    return _reader(tree, folder, file, [each for each in tree.entries(folder)[0] if each.endswith(".py")])()


def _shown(tree: Tree, folder: str) -> str:
    return f"{tree.where.rstrip('/')}/{folder}" if folder else tree.where


Found = dict[str, Callable[[], Udf]]


def _find(tree: Tree, folder: str, name: str | None, depth: int, budget: list[int]) -> Found:
    budget[0] -= 1
    if budget[0] < 0:
        raise SourceError(f"{tree.where!r} has more than {FOLDERS_MAX} folders; load one of them")
    files, folders = tree.entries(folder)
    if "meta.json" in files:
        return _of_meta(tree, folder)
    own = name or PurePosixPath(folder).name or PurePosixPath(tree.where).name.removesuffix(".zip")
    code = [file for file in files if file.endswith(".py")]
    marked = [file for file in code if _is_marked(tree, _join(folder, file))]
    if f"{own}.py" in code and (f"{own}.py" in marked or not marked):
        marked = [f"{own}.py"]
    if marked:
        return {PurePosixPath(file).stem: _reader(tree, folder, file, code) for file in marked}
    found: Found = {}
    if depth < DEPTH_MAX:
        for each in folders:
            if each.startswith(".") or each in _LEFT_OUT:
                continue
            for key, read in _find(tree, _join(folder, each), None, depth + 1, budget).items():
                found[key if key not in found else f"{each}/{key}"] = read
    return found


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _is_marked(tree: Tree, path: str) -> bool:
    """Has this file a function with ``@fused.udf``."""
    text = tree.read(path)
    if "udf" not in text:
        return False
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError):
        return "@fused.udf" in text  # picking it will say what is wrong
    return any(isinstance(node, FunctionNode) and udf_decorator(node) is not None for node in body)


def _reader(tree: Tree, folder: str, file: str, siblings: list[str]) -> Callable[[], Udf]:
    def read() -> Udf:
        from fused._load import udf_of_code

        code = tree.read(_join(folder, file)).strip("\n")
        stem = PurePosixPath(file).stem
        headers = _headers_beside(tree, folder, code, [name for name in siblings if name != file])
        udf = udf_of_code(code, file=Path(f"{stem}.py"), headers=lambda said: _with_said(tree, folder, said, headers))
        if stem in ("udf", "main", "__init__") and udf.name == stem:
            udf.name = PurePosixPath(folder).name or PurePosixPath(tree.where).name or stem
        return udf

    return read


def _headers_beside(tree: Tree, folder: str, code: str, siblings: list[str]) -> list[Header]:
    """Modules beside the code that it imports, and those that they import."""
    stems = {PurePosixPath(name).stem: name for name in siblings if PurePosixPath(name).stem.isidentifier()}
    found: dict[str, Header] = {}
    texts = [code]
    while texts:
        for name in _imports(texts.pop()):
            if name in stems and name not in found:
                text = tree.read(_join(folder, stems[name]))
                found[name] = Header(name, text, stems[name])
                texts.append(text)
    return list(found.values())


def _imports(code: str) -> list[str]:
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError):
        return []
    names: dict[str, None] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(dict.fromkeys(alias.name.partition(".")[0] for alias in node.names))
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names[node.module.partition(".")[0]] = None
    return list(names)


def _with_said(tree: Tree, folder: str, said: Any, beside: list[Header]) -> list[Header]:
    """Headers that the decorator names, read from the tree; then those that are only imported."""
    found: dict[str, Header] = {}
    for each in said if isinstance(said, list | tuple) else []:
        if isinstance(each, str) and not each.startswith(("http://", "https://")):
            path = _inside(_join(folder, each), each)
            header = Header(PurePosixPath(each).name.split(".")[0], tree.read(path), each)
        else:
            from fused.models.header import read_headers

            header = read_headers([each], None)[0]
        found[header.module_name] = header
    for header in beside:
        found.setdefault(header.module_name, header)
    return list(found.values())


def _inside(path: str, said: str) -> str:
    """The path without ``.`` and ``..``; ``SourceError`` where it leads out of the tree."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            if not parts:
                raise SourceError(f"{said!r} is outside of the folder that was loaded")
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    if said.startswith("/") or "\0" in said:
        raise SourceError(f"{said!r} is outside of the folder that was loaded")
    return "/".join(parts)


# --- meta.json ------------------------------------------------------------------------------------------------------


def _of_meta(tree: Tree, folder: str) -> Found:
    """The functions that ``meta.json`` describes: steps of a job, as clients write them, or one record."""
    where = _shown(tree, folder)
    try:
        meta = json.loads(tree.read(_join(folder, "meta.json")))
        records = _records(meta)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, SourceError):
            raise
        raise SourceError(f"meta.json of {where!r} cannot be read: {type(error).__name__}: {error}") from None
    if not records:
        raise SourceError(f"meta.json of {where!r} has 0 functions; at least one is wanted")
    found: Found = {}
    for at, record in enumerate(records):
        name = str(record.get("name") or PurePosixPath(folder).name or f"udf{at}")
        found[name if name not in found else f"{name}_{at}"] = _record_reader(tree, folder, record, len(records) == 1)
    return found


def _records(meta: Any) -> list[dict[str, Any]]:
    config = meta.get("job_config") or meta
    if isinstance(config.get("steps"), list):
        steps = [step for step in config["steps"] if step.get("type", "udf") == "udf"]
        return [{"name": step.get("name"), **dict(step["udf"])} for step in steps]
    record = config.get("udf") or config
    if "code" in record or "source" in record or "headers" in record:
        return [{"name": config.get("name"), **dict(record)}]
    raise ValueError("it describes no function (job_config.steps[].udf, or source)")


def _record_reader(tree: Tree, folder: str, record: Mapping[str, Any], alone: bool) -> Callable[[], Udf]:
    def read() -> Udf:
        where = _shown(tree, folder)
        try:
            code = _code_of(tree, folder, record, alone)
            headers = [_header_of(tree, folder, each) for each in record.get("headers") or []]
        except SourceError:
            raise
        except FileNotFoundError as error:
            name = error.filename or error
            raise SourceError(f"meta.json of {where!r} names a file that is not there: {name}") from None
        except (KeyError, TypeError, ValueError, AttributeError, OSError) as error:
            raise SourceError(f"meta.json of {where!r} cannot be read: {type(error).__name__}: {error}") from None
        known = {header.module_name for header in headers}
        files = [file for file in tree.entries(folder)[0] if file.endswith(".py") and file != record.get("source")]
        headers += [each for each in _headers_beside(tree, folder, code, files) if each.module_name not in known]
        try:
            udf = Udf.of_json({**record, "code": code, "headers": []})
        except (KeyError, TypeError, ValueError) as error:
            raise SourceError(f"meta.json of {where!r} cannot be read: {type(error).__name__}: {error}") from None
        udf.headers = headers
        return udf

    return read


def _code_of(tree: Tree, folder: str, record: Mapping[str, Any], alone: bool) -> str:
    if record.get("code"):
        return str(record["code"]).strip("\n")
    source = record.get("source")
    if source is None:
        files = [file for file in tree.entries(folder)[0] if file.endswith(".py")]
        names = (f"{record.get('name')}.py", f"{PurePosixPath(folder).name}.py", "udf.py")
        source = next((name for name in names if name in files), files[0] if alone and len(files) == 1 else None)
        if source is None:
            raise SourceError(f"meta.json of {_shown(tree, folder)!r} does not say which file holds the code (source)")
    return tree.read(_inside(_join(folder, str(source)), str(source))).removeprefix("import fused\n\n\n").strip("\n")


def _header_of(tree: Tree, folder: str, each: Any) -> Header:
    if isinstance(each, str):
        each = {"module_name": PurePosixPath(each).name.split(".")[0], "source_file": each}
    file = each.get("source_file") or f"{each['module_name']}.py"
    text = each.get("source_code") or tree.read(_inside(_join(folder, str(file)), str(file)))
    return Header(each["module_name"], text, each.get("source_file"))


# --- where trees are ------------------------------------------------------------------------------------------------


class FolderTree:
    """A folder on disk. Links are followed inside of it and refused out of it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self.where = str(self._folder)

    def entries(self, folder: str) -> tuple[list[str], list[str]]:
        files, folders = [], []
        try:
            with os.scandir(self._folder / folder) as names:
                for each in names:
                    if each.is_dir(follow_symlinks=False):
                        folders.append(each.name)
                    elif each.is_file():
                        files.append(each.name)
        except OSError as error:
            raise SourceError(f"{str(self._folder / folder)!r} cannot be read: {error.strerror}") from None
        return sorted(files), sorted(folders)

    def read(self, path: str) -> str:
        found = (self._folder / path).resolve()
        if not found.is_relative_to(self._folder):
            raise SourceError(f"{path!r} is outside of {self.where!r}")
        used(found)
        with found.open("rb") as file:
            return decoded(file.read(MEMBER_BYTES_MAX + 1), str(found))


class ZipTree:
    """A zip file, read without being unpacked."""

    def __init__(self, archive: zipfile.ZipFile, where: str) -> None:
        self._archive = archive
        self.where = where
        self._files = {name.strip("/"): name for name in archive.namelist() if not name.endswith("/")}

    def entries(self, folder: str) -> tuple[list[str], list[str]]:
        prefix = f"{folder}/" if folder else ""
        files: set[str] = set()
        folders: set[str] = set()
        for path in self._files:
            if path.startswith(prefix) and not path.startswith("__MACOSX/"):
                head, deeper, _ = path[len(prefix) :].partition("/")
                (folders if deeper else files).add(head)
        return sorted(files), sorted(folders)

    def read(self, path: str) -> str:
        if path not in self._files:
            raise FileNotFoundError(2, "not in the zip", path)
        try:
            with self._archive.open(self._files[path]) as file:
                return decoded(file.read(MEMBER_BYTES_MAX + 1), f"{self.where}/{path}")
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
            raise SourceError(f"{path!r} in {self.where!r} cannot be read: {error}") from None


def decoded(data: bytes, where: str) -> str:
    """UTF-8 text of a file; ``SourceError`` for one that is too large or none."""
    if len(data) > MEMBER_BYTES_MAX:
        raise SourceError(f"{where!r} is larger than {MEMBER_BYTES_MAX >> 20} MiB")
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise SourceError(f"{where!r} is not UTF-8 text: {error}") from None
