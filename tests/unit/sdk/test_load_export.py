"""`fused.load` from texts and files, and functions written to files and back."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

import fused
from fused.errors import ConfigurationError, SourceError
from fused.models import Header

CODE = """@fused.udf(name="counted", cache_max_age="2h", default_parameters={"n": 4}, schema="n:int64")
def udf(n: int = 1):
    return n + 1"""


def test_text_becomes_a_udf_without_being_run() -> None:
    udf = fused.load("\n    import nowhere\n\n    @fused.udf\n    def udf(n: int = 1):\n        return n\n    ")
    assert udf.code.startswith("import nowhere\n")
    assert udf.described.parameters == ("n",)
    with pytest.raises(ModuleNotFoundError, match="nowhere"):
        udf.fn


def test_the_decorator_of_a_text_is_taken_over() -> None:
    udf = fused.load(CODE)
    assert (udf.name, udf.cache_max_age, udf.parameters, str(udf.table_schema)) == (
        "counted",
        7200,
        {"n": 4},
        "n:int64",
    )
    assert fused.run(udf) == 5


@pytest.mark.parametrize(
    ("code", "entry"),
    [
        ("@fused.udf\ndef a(): ...\n@fused.udf\ndef udf(): ...", "udf"),
        ("def helper(): ...\n@fused.udf\ndef only(): ...", "only"),
        ("def udf(): ...\ndef other(): ...", "udf"),
        ("def alone(): ...\n", "alone"),
        ("@fused.udf\ndef udf(a): ...\n@fused.udf\ndef udf(b): ...", "udf"),
        ("@udf\ndef x(): ...\ndef udf(): ...", "x"),
    ],
)
def test_the_entry_point_is_found(code: str, entry: str) -> None:
    assert fused.load(code + "\n").entrypoint == entry


def test_of_two_definitions_the_last_counts() -> None:
    udf = fused.load("@fused.udf\ndef udf(a): ...\n@fused.udf\ndef udf(b): ...")
    assert udf.described.parameters == ("b",)


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("@fused.udf\ndef a(): ...\n@fused.udf\ndef b(): ...", r"several functions \(a, b\)"),
        ("X = 1\n", "has no function"),
        ("def udf(:\n    pass", "line 1"),
        ("@fused.udf\ndef udf():\n\0", "not Python"),
    ],
)
def test_texts_that_cannot_be_a_function_say_why(code: str, says: str) -> None:
    with pytest.raises(SourceError, match=says):
        fused.load(code + "\n")


def test_files_are_loaded_with_headers_beside_them(tmp_path: Path) -> None:
    (tmp_path / "tools.py").write_text("def double(n): return 2 * n\n")
    (tmp_path / "doubled.py").write_text(
        "import fused\n@fused.udf(headers=['tools.py'])\n"
        "def udf(n: int = 1):\n    import tools\n    return tools.double(n)\n"
    )
    udf = fused.load(tmp_path / "doubled.py")
    assert udf.name == "doubled"
    assert fused.run(udf, n=4) == 8
    assert fused.run(fused.load(str(tmp_path / "doubled.py")), n=4) == 8


def test_paths_that_are_not_there_are_file_not_found_errors(tmp_path: Path) -> None:
    for source in ("./none.py", "none.py", "/nowhere/folder", tmp_path / "none", "~/none.zip"):
        with pytest.raises(FileNotFoundError, match="is not there"):
            fused.load(source)


@pytest.mark.parametrize("source", ["", "  ", "a/b/c", "/".join(["a", ""]) + "/b", "http://example.com/x"])
def test_texts_that_cannot_be_understood_are_value_errors(source: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError)):
        fused.load(source)


def test_other_types_are_type_errors() -> None:
    with pytest.raises(TypeError, match="a text or a Path"):
        fused.load(3)  # type: ignore[arg-type]


def test_names_tokens_and_addresses_need_a_server() -> None:
    for source in ("hello", "a@b.c/hello", "fsh_abc", "0" * 64):
        with pytest.raises(ConfigurationError, match="no server is known"):
            fused.load(source)


def test_a_file_that_is_not_text_says_so(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_bytes(b"# \xff\xfe\ndef udf(): ...")
    with pytest.raises(SourceError, match="not UTF-8"):
        fused.load(tmp_path / "bad.py")


def test_cache_key_gives_what_was_loaded_before(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_text("def udf(): return 1\n")
    first = fused.load(file, cache_key="k")
    file.write_text("def udf(): return 2\n")
    assert fused.run(fused.load(file, cache_key="k")) == 1
    assert fused.run(fused.load(file, cache_key="other")) == 2
    assert fused.run(fused.load(file)) == 2
    first.set_parameters({"n": 1}, inplace=True)
    assert fused.load(file, cache_key="k").parameters == {}


def make() -> fused.models.Udf:
    udf = fused.load(CODE)
    udf.headers = [Header("tools", "X = 1\n", "tools.py")]
    return udf


def test_a_folder_holds_meta_readme_code_and_headers_and_comes_back(tmp_path: Path) -> None:
    folder = make().to_directory(tmp_path / "out")
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "counted.py", "meta.json", "tools.py"]
    meta = json.loads((folder / "meta.json").read_text())
    step = meta["job_config"]["steps"][0]
    assert step["type"] == "udf"
    assert step["udf"]["source"] == "counted.py"
    assert step["udf"]["headers"] == [{"module_name": "tools", "source_file": "tools.py"}]
    compile((folder / "counted.py").read_text(), "counted.py", "exec")
    back = fused.load(folder)
    assert (back.code, back.parameters, back.cache_max_age) == (CODE, {"n": 4}, 7200)
    assert [header.source_code for header in back.headers] == ["X = 1\n"]
    with pytest.raises(FileExistsError, match="overwrite=True"):
        make().to_directory(folder)
    make().to_directory(folder, overwrite=True)


def test_a_zip_comes_back_and_equal_functions_give_equal_files(tmp_path: Path) -> None:
    path = make().to_file(tmp_path / "a.zip")
    again = make().to_file(tmp_path / "b.zip")
    assert path.read_bytes() == again.read_bytes()
    assert fused.load(path).code == CODE
    with pytest.raises(FileExistsError):
        make().to_file(path)


def test_a_single_file_holds_the_code_and_refuses_headers(tmp_path: Path) -> None:
    path = fused.load(CODE).to_file(tmp_path / "x.py")
    assert fused.load(path).cache_max_age == 7200
    with pytest.raises(ValueError, match="has headers"):
        make().to_file(tmp_path / "y.py")
    with pytest.raises(ValueError, match=r"\.zip or \.py"):
        make().to_file(tmp_path / "y.tar")


def test_a_zip_of_the_official_layout_in_a_folder_is_read(tmp_path: Path) -> None:
    path = tmp_path / "theirs.zip"
    meta = {
        "job_config": {"name": "x", "steps": [{"type": "udf", "udf": {"name": "x", "source": "x.py", "headers": []}}]}
    }
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/meta.json", json.dumps(meta))
        archive.writestr("x/x.py", "@fused.udf\ndef udf(n: int = 1):\n    return n\n")
    assert fused.run(fused.load(path), n=3) == 3


@pytest.mark.parametrize(
    ("meta", "says"),
    [
        ("nonsense", "cannot be read"),
        ('{"job_config": {"steps": []}}', "has 0 functions"),
        ('{"job_config": {"steps": [{"type": "udf", "udf": {"source": "../../etc/passwd"}}]}}', "outside of"),
        ('{"job_config": {"steps": [{"type": "udf", "udf": {"source": "gone.py"}}]}}', "is not there"),
        ("[]", "cannot be read"),
    ],
)
def test_folders_that_cannot_be_read_say_why(tmp_path: Path, meta: str, says: str) -> None:
    (tmp_path / "meta.json").write_text(meta)
    with pytest.raises(SourceError, match=says):
        fused.load(tmp_path)


def test_a_folder_without_meta_has_one_function_or_says_which(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"neither meta\.json nor"):
        fused.load(tmp_path)
    (tmp_path / "a.py").write_text("import fused\n@fused.udf\ndef udf(): return 1\n")
    assert fused.run(fused.load(tmp_path)) == 1
    (tmp_path / "b.py").write_text("import fused\n@fused.udf\ndef udf(): return 2\n")
    both = fused.load(tmp_path)
    assert list(both) == ["a", "b"] and fused.run(both.b) == fused.run(both["b"]) == 2


def test_a_broken_zip_says_so(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(b"nonsense")
    with pytest.raises(SourceError, match="not a zip file"):
        fused.load(tmp_path / "x.zip")
