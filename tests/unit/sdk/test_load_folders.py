"""``fused.load`` of folders, zips and git repositories: the layouts of published functions."""

from __future__ import annotations

import functools
import http.server
import json
import subprocess
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import fused
from fused import _load_git
from fused._load_registry import UdfRegistry
from fused.errors import SourceError

CODE = "@fused.udf\ndef udf(n: int = 1):\n    import utils\n    return utils.twice(n)\n"
UTILS = "import more\ndef twice(n):\n    return 2 * more.same(n)\n"
MORE = "def same(n):\n    return n\n"


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def meta(**record: Any) -> str:
    return json.dumps({"version": "0.0.3", "job_config": {"name": "x", "steps": [{"type": "udf", "udf": record}]}})


OLD = {
    "meta.json": meta(
        name="Doubled", type="geopandas_v2", source="Doubled.py", entrypoint="udf", parameters={"n": 4},
        headers=[{"module_name": each, "source_file": f"{each}.py"} for each in ("utils", "more")],
        metadata={"fused:slug": "Doubled"},
    ),
    "Doubled.py": CODE, "utils.py": UTILS, "more.py": MORE, "README.MD": "# Doubled",
}  # fmt: skip
NEW = {"meta.json": meta(name="Doubled", source="Doubled.py", headers=[]), "Doubled.py": "import fused\n\n\n" + CODE}
NEW |= {"utils.py": UTILS, "more.py": MORE}
BARE = {"Doubled.py": "import fused\n" + CODE, "utils.py": UTILS, "more.py": MORE, "unused.py": "boom ="}


@pytest.fixture(params=["old", "new", "bare", "record", "udf.py"])
def layout(request: pytest.FixtureRequest) -> dict[str, str]:
    return {
        "old": OLD,
        "new": NEW,
        "bare": BARE,
        "record": {**NEW, "meta.json": json.dumps({"name": "Doubled", "source": "Doubled.py"})},
        "udf.py": {"udf.py": CODE, "utils.py": UTILS, "more.py": MORE},
    }[request.param]


def test_every_layout_of_a_folder_loads_and_runs(layout: dict[str, str], tmp_path: Path) -> None:
    udf = fused.load(write(tmp_path / "Doubled", layout))
    assert udf.name == "Doubled"
    assert sorted(header.module_name for header in udf.headers) == ["more", "utils"]
    assert fused.run(udf, n=3) == 6
    assert fused.run(fused.load(f"{tmp_path}/Doubled/"), n=4) == 8


def test_every_layout_in_a_zip_loads_and_runs(layout: dict[str, str], tmp_path: Path) -> None:
    for prefix in ("", "Doubled/"):
        with zipfile.ZipFile(tmp_path / "Doubled.zip", "w") as archive:
            for name, text in layout.items():
                archive.writestr(prefix + name, text)
            archive.writestr(f"__MACOSX/{prefix}._meta.json", "x")
        assert fused.run(fused.load(tmp_path / "Doubled.zip"), n=3) == 6


SEVERAL = {
    "public/One/One.py": "@fused.udf\ndef udf():\n    return 1\n",
    "public/Two/Two.py": "@fused.udf\ndef udf():\n    return 2\n",
    "public/Two/README.md": "two",
    "public/Broken/meta.json": meta(name="Broken", source="gone.py"),
    "public/.hidden/Three.py": "@fused.udf\ndef udf():\n    return 3\n",
    "notes.txt": "x",
}


def check_several(found: Any) -> None:
    assert isinstance(found, UdfRegistry)
    assert sorted(found) == ["Broken", "One", "Two"] and len(found) == 3
    assert fused.run(found["One"]) == 1 and fused.run(found.Two) == 2
    assert "One" in dir(found) and "One" in repr(found)
    with pytest.raises(SourceError, match=r"not there: .*gone\.py"):
        found["Broken"]
    with pytest.raises(KeyError, match="it has Broken, One, Two"):
        found["Four"]
    with pytest.raises(AttributeError, match="Broken, One, Two"):
        found.Four


def test_a_folder_or_zip_of_several_functions_is_a_registry(tmp_path: Path) -> None:
    check_several(fused.load(write(tmp_path / "all", SEVERAL)))
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for name, text in SEVERAL.items():
            archive.writestr(name, text)
    check_several(fused.load(tmp_path / "all.zip"))
    check_several(fused.load(tmp_path / "all.zip", cache_key=1))


def test_a_meta_json_of_several_steps_is_a_registry(tmp_path: Path) -> None:
    steps = [{"type": "udf", "name": name, "udf": {"source": f"{name}.py"}} for name in ("a", "b")]
    write(tmp_path, {"meta.json": json.dumps({"job_config": {"steps": [*steps, {"type": "other"}]}})})
    write(tmp_path, {f"{name}.py": f"@fused.udf\ndef udf():\n    return '{name}'\n" for name in ("a", "b")})
    found: Any = fused.load(tmp_path)
    assert [fused.run(found[name]) for name in found] == ["a", "b"]


def test_two_functions_of_one_name_are_both_there(tmp_path: Path) -> None:
    write(tmp_path, {f"{name}/udf.py": f"@fused.udf\ndef x():\n    return '{name}'\n" for name in ("a", "b")})
    found: Any = fused.load(tmp_path)
    assert [fused.run(udf) for udf in found.values()] == ["a", "b"]


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"a.txt": ""}, "neither meta.json nor"),
        ({"meta.json": "{}"}, "describes no function"),
        ({"meta.json": meta(name="a")}, "does not say which file"),
        ({"meta.json": meta(source="../x.py")}, "outside of"),
        ({"meta.json": meta(source="/etc/passwd")}, "outside of"),
        (
            {"meta.json": meta(source="a.py", headers=[{"source_file": "u.py"}]), "a.py": CODE},
            "names a file that is not there",
        ),
        ({"meta.json": meta(source="a.py", headers=["../u.py"]), "a.py": CODE}, "outside of"),
        ({"meta.json": meta(source="a.py", cache_max_age="soon"), "a.py": CODE}, "not a duration"),
        ({"a.py": "@fused.udf(headers=['../../x.py'])\ndef udf(): ...\n"}, "outside of"),
        ({"a.py": "@fused.udf\ndef udf(:\n"}, "line 2"),
    ],
)
def test_folders_that_cannot_be_loaded_say_why(files: dict[str, str], says: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=says):
        fused.load(write(tmp_path / "folder", files))


def test_links_out_of_a_folder_are_refused(tmp_path: Path) -> None:
    write(tmp_path, {"secret.py": "KEY = 1\n"})
    folder = write(tmp_path / "folder", {"a.py": "@fused.udf\ndef udf():\n    import stolen\n    return 1\n"})
    (folder / "stolen.py").symlink_to(tmp_path / "secret.py")
    with pytest.raises(SourceError, match="outside of"):
        fused.load(folder)


def test_helpers_are_used_like_a_module_s_unless_that_is_forbidden(tmp_path: Path) -> None:
    code = "import math\nRATE = 3\ndef helper(x):\n    return RATE * x\n"
    code += "@fused.udf\ndef udf(n: int = 1):\n    return helper(n)\n"
    common = fused.load(code)
    assert common.helper(2) == 6 and common.RATE == 3 and common.math.pi > 3
    with pytest.raises(AttributeError, match="has a name 'other'"):
        common.other
    closed = fused.load(code, import_globals=False)
    with pytest.raises(AttributeError, match="import_globals=False"):
        closed.helper
    assert fused.run(closed, n=2) == 6
    with pytest.raises(TypeError, match="not True or False"):
        fused.load(code, import_globals="no")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="cannot be a key"):
        fused.load(code, cache_key=[1])


# --- git ------------------------------------------------------------------------------------------------------------


class Repository:
    """A bare repository and the commits in it."""

    def __init__(self, folder: Path) -> None:
        self.work, self.bare = folder / "work", folder / "owner" / "project.git"
        self.bare.parent.mkdir()
        self.git("init", "--quiet", "--bare", str(self.bare), at=folder)
        self.git("init", "--quiet", "-b", "main", str(self.work), at=folder)

    def git(self, *arguments: str, at: Path | None = None) -> str:
        settings = ["-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "commit.gpgsign=false"]
        return subprocess.run(
            ["git", *settings, *arguments], cwd=at or self.work, check=True, capture_output=True, text=True
        ).stdout.strip()

    def commit(self, files: dict[str, str], *references: str) -> str:
        write(self.work, files)
        self.git("add", "--all")
        self.git("commit", "--quiet", "-m", "x")
        for reference in references or ("refs/heads/main",):
            self.git("push", "--quiet", "--force", str(self.bare), f"HEAD:{reference}")
        self.git("symbolic-ref", "HEAD", "refs/heads/main", at=self.bare)
        self.git("update-server-info", at=self.bare)
        return self.git("rev-parse", "HEAD")

    @property
    def url(self) -> str:
        return f"file://{self.bare}"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setenv("NO_PROXY", "*")
    (tmp_path / "temporary").mkdir()
    return Repository(tmp_path)


def test_a_repository_loads_and_says_which_commit(repository: Repository) -> None:
    first = repository.commit({f"functions/Doubled/{name}": text for name, text in OLD.items()})
    udf = fused.load(f"{repository.url}#functions/Doubled")
    assert fused.run(udf, n=3) == 6
    assert udf.metadata is not None
    assert udf.metadata["fused:git"] == {"url": repository.url, "commit": first, "path": "functions/Doubled"}
    second = repository.commit({"functions/Doubled/more.py": "def same(n):\n    return -n\n"})
    assert fused.run(fused.load(f"git+{repository.url}@main#functions/Doubled"), n=3) == -6
    assert fused.run(fused.load(f"{repository.url}@{first}#subdirectory=functions/Doubled"), n=3) == 6
    assert fused.run(fused.load(f"{repository.url}@{second[:10]}#functions/Doubled"), n=3) == -6


def test_a_commit_that_was_fetched_is_not_asked_for_again(repository: Repository) -> None:
    commit = repository.commit({"a.py": "@fused.udf\ndef udf():\n    return 1\n"})
    address = f"{repository.url}@{commit}#a.py"
    assert fused.run(fused.load(address)) == 1
    repository.bare.rename(repository.bare.with_name("moved.git"))
    assert fused.run(fused.load(address)) == 1
    with pytest.raises(SourceError, match="git cannot read file://"):
        fused.load(f"{repository.url}@main#a.py")


def test_commits_without_a_name_tags_and_pull_requests_are_found(repository: Repository) -> None:
    def code(number: int) -> dict[str, str]:
        return {"a.py": f"@fused.udf\ndef udf():\n    return {number}\n"}

    old = repository.commit(code(1))
    repository.commit(code(2), "refs/heads/main", "refs/tags/v2")
    repository.commit(code(3), "refs/pull/7/head")
    repository.commit(code(4), "refs/heads/feature/x")
    for reference, number in ((old, 1), ("v2", 2), ("refs/pull/7/head", 3), ("feature/x", 4), (old[:8], 1)):
        assert fused.run(fused.load(f"{repository.url}@{reference}#a.py")) == number
    repository.git("tag", "-a", "signed", "-m", "x", old)
    repository.git("push", "--quiet", str(repository.bare), "signed")
    assert fused.run(fused.load(f"{repository.url}@signed#a.py")) == 1


@pytest.fixture
def web(repository: Repository) -> Iterator[str]:
    """The repositories' folder over HTTP on loopback, as a plain file server gives it."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(repository.bare.parent.parent))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    handler.func.log_message = lambda *_: None  # type: ignore[method-assign]
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_repositories_over_http(repository: Repository, web: str) -> None:
    commit = repository.commit(SEVERAL)
    check_several(fused.load(f"{web}/owner/project.git"))
    found = fused.load(f"{web}/owner/project.git@{commit}#public/One")
    assert fused.run(found) == 1 and found.metadata["fused:git"]["commit"] == commit


def test_web_addresses_of_folders_and_files(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """As they stand in a browser's address line; the host is exchanged for the local repository."""
    commit = repository.commit(SEVERAL, "refs/heads/main", "refs/heads/feature/x", "refs/pull/7/head")
    real = _load_git.parse

    def local(text: str) -> _load_git.Address:
        from dataclasses import replace

        found = real(text)
        assert found.repository in (
            "https://github.com/owner/project.git",
            "https://gitlab.com/group/owner/project.git",
        )
        return replace(found, repository=repository.url)

    monkeypatch.setattr(_load_git, "parse", local)
    for address in (
        "https://github.com/owner/project/tree/main/public/One",
        "https://github.com/owner/project/tree/main/public/One/",
        "https://github.com/owner/project/blob/main/public/One/One.py",
        f"https://github.com/owner/project/tree/{commit}/public/One",
        "https://github.com/owner/project/tree/feature/x/public/One",
        "https://gitlab.com/group/owner/project/-/tree/feature/x/public/One",
        "https://gitlab.com/group/owner/project/-/blob/main/public/One/One.py",
    ):
        assert fused.run(fused.load(address)) == 1, address
    for address in (
        "https://github.com/owner/project", "https://github.com/owner/project.git", "https://github.com/owner/project/pull/7",
        f"https://github.com/owner/project/commit/{commit}", "https://github.com/owner/project/tree/main",
    ):  # fmt: skip
        check_several(fused.load(address))
    with pytest.raises(FileNotFoundError, match=r"'public/Nine' is not in .* at commit"):
        fused.load("https://github.com/owner/project/tree/main/public/Nine")
    with pytest.raises(SourceError, match="no branch, tag or commit 'nowhere'; branches are"):
        fused.load("https://github.com/owner/project/tree/nowhere/public/One")


@pytest.mark.parametrize(
    "address",
    [
        "https://github.com/", "https://github.com/owner", "https://github.com/owner/project/issues/3",
        "https://example.com/x", "https://", "git+ftp://x/y.git", "https://github.com/o/p/tree/main/../../x",
        "git+file:///x.git@--upload-pack=touch#a", "git+file:///x.git@a..b#c", "file:///x.git#../x",
        "https://a b/x.git", "git+file:///x.git@#a",
    ],
)  # fmt: skip
def test_addresses_that_cannot_be_understood_are_value_errors(address: str) -> None:
    with pytest.raises(ValueError, match=r"is not the address|names no repository|not allowed|no branch|spaces"):
        fused.load(address)


def test_what_git_says_is_in_the_error_without_the_password(repository: Repository, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="git cannot read"):
        fused.load(f"file://{tmp_path}/nothing.git")
    with pytest.raises(SourceError) as refused:
        fused.load("https://ann:secret@127.0.0.1:1/x.git")
    assert "secret" not in str(refused.value)


def test_without_git_it_says_what_to_install(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SourceError, match="apt install git"):
        fused.load(repository.url)


def test_nothing_of_a_repository_runs_or_leads_out(repository: Repository, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    files = {
        ".gitattributes": "*.py filter=evil\n", "a.py": "@fused.udf\ndef udf():\n    import secret\n    return 1\n",
        ".gitmodules": f'[submodule "x"]\n path = x\n url = file://{tmp_path}/x.git\n',
    }  # fmt: skip
    write(repository.work, files)
    (repository.work / "secret.py").symlink_to("/etc/passwd")
    repository.commit({})
    hook = repository.bare / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {marker}\n")
    hook.chmod(0o755)
    assert fused.load(f"{repository.url}#a.py").headers == []
    assert not marker.exists()


def test_processes_that_load_at_once_do_not_disturb_each_other(repository: Repository) -> None:
    repository.commit({"a.py": "@fused.udf\ndef udf():\n    return 1\n"})
    results: list[Any] = []
    call: Callable[[], None] = lambda: results.append(fused.load(f"{repository.url}#a.py").code)  # noqa: E731
    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8 and len(set(results)) == 1
