"""Functions in git repositories, through ``git`` on the PATH: of GitHub, GitLab and any other address.

What is loaded is one commit, which ``udf.metadata["fused:git"]`` names. Nothing is checked out: files are read from the
fetched objects, so no hook, filter or link of a repository does anything. A commit that was fetched before is not asked
for again.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote, urlsplit

from fused._load_registry import UdfRegistry
from fused._load_tree import MEMBER_BYTES_MAX, decoded, load_file, load_tree
from fused.errors import SourceError
from fused.models.udf import Udf

GIT_S = 120
_COMMIT = re.compile(r"[0-9a-f]{40}\Z|[0-9a-f]{64}\Z")
_SHORT = re.compile(r"[0-9a-f]{7,39}\Z")
_SCP = re.compile(r"[A-Za-z0-9_.-]+@[A-Za-z0-9.-]+:(?!//)\S+\Z")
_SCHEMES = ("https", "http", "ssh", "git", "file")


@dataclass(frozen=True)
class Address:
    """What an address asks for. ``rest``: reference and path of a web page's address, not yet told apart."""

    repository: str
    reference: str | None = None
    path: str = ""
    rest: str | None = None


def is_git(text: str) -> bool:
    """Is this the address of a repository, or of a place in one."""
    return (
        text.startswith(("git+", "ssh://", "git://", "https://", "http://", "file://")) or _SCP.match(text) is not None
    )


def parse(text: str) -> Address:
    """``ValueError`` with the forms there are, for what cannot be understood."""
    plain = text.removeprefix("git+").strip()
    if any(ord(letter) <= 32 for letter in plain):
        raise ValueError(f"{text!r} is no address: it holds spaces or control characters")
    if _SCP.match(plain):
        found, path = _fragment(plain)
        return Address(found, path=path)
    parts = urlsplit(plain)
    if parts.scheme not in _SCHEMES or (not parts.hostname and parts.scheme != "file"):
        raise _not_understood(text)
    if ".." in parts.path.split("/"):
        raise ValueError(f"{text!r}: '..' is not allowed in an address")
    if (parts.hostname or "") in ("github.com", "www.github.com") and parts.scheme in ("https", "http"):
        return _github(text, parts.path, f"{parts.username}@" if parts.username else "")
    pieces = parts.path.strip("/").split("/")
    if "-" in pieces[1:-2]:  # GitLab: …/-/tree/main/folder
        at = pieces.index("-")
        if pieces[at + 1] in ("tree", "blob", "raw"):
            repository = parts._replace(path="/".join(["", *pieces[:at]]), query="", fragment="").geturl()
            return Address(f"{repository.removesuffix('.git')}.git", rest=unquote("/".join(pieces[at + 2 :])))
    where, path = _fragment(plain)
    head, at_sign, reference = where.rpartition("@")
    if at_sign and (head.startswith("file:") or "/" in head.partition("://")[2]):
        if not reference:
            raise _not_understood(text)
        return Address(head, _reference(reference, text), path)
    if parts.scheme in ("https", "http") and not text.startswith("git+") and ".git" not in parts.path:
        raise _not_understood(text)
    return Address(where, path=path)


def _not_understood(text: str) -> ValueError:
    return ValueError(
        f"{text!r} is not the address of a function; it may be "
        "https://github.com/owner/repository/tree/reference/folder, "
        "https://gitlab.com/owner/repository/-/tree/reference/folder, or "
        "git+https://host/repository.git@reference#folder"
    )


def _fragment(text: str) -> tuple[str, str]:
    where, _, fragment = text.partition("#")
    path = unquote(fragment.removeprefix("subdirectory=")).strip("/")
    if ".." in path.split("/"):
        raise ValueError(f"{text!r}: '..' is not allowed in an address")
    return where, path


def _reference(text: str, address: str) -> str:
    reference = unquote(text)
    if reference.startswith("-") or not re.fullmatch(r"[\w./+-]+", reference) or ".." in reference:
        raise ValueError(f"{address!r}: {reference!r} is no branch, tag or commit")
    return reference


def _github(text: str, path: str, user: str) -> Address:
    pieces = path.strip("/").split("/")
    if len(pieces) < 2 or not all(pieces[:2]):
        raise ValueError(
            f"{text!r} names no repository: write https://github.com/owner/repository/tree/reference/folder"
        )
    repository = f"https://{user}github.com/{pieces[0]}/{pieces[1].removesuffix('.git')}.git"
    more = pieces[2:]
    if not more:
        return Address(repository)
    if more[0] in ("tree", "blob", "raw") and len(more) > 1:
        return Address(repository, rest=unquote("/".join(more[1:])))
    if more[0] == "pull" and len(more) > 1 and more[1].isdecimal():
        return Address(repository, f"refs/pull/{more[1]}/head")
    if more[0] == "commit" and len(more) == 2:
        return Address(repository, _reference(more[1], text))
    raise _not_understood(text)


def load_git(text: str) -> Udf | UdfRegistry:
    """The function or functions at an address. ``ValueError`` for one that is none, ``SourceError`` for the rest."""
    address = parse(text)
    _may_be_asked(address.repository)
    store = _Store(address.repository)
    commit, path = store.resolve(address)
    tree = GitTree(store, commit, address.repository)
    kind = store.kind(commit, path)
    if kind is None:
        raise FileNotFoundError(f"{path!r} is not in {_shown(address.repository)} at commit {commit[:12]}")
    if kind == "blob":
        found: Udf | UdfRegistry = load_file(tree, path)
    else:
        found = load_tree(tree, path)
    known = {"url": _shown(address.repository), "commit": commit, "path": path}
    if isinstance(found, UdfRegistry):
        found._found = {name: _marked(read, known) for name, read in found._found.items()}
    else:
        found.metadata = {**(found.metadata or {}), "fused:git": known}
    return found


def _marked(read: Any, known: dict[str, str]) -> Any:
    def marked() -> Udf:
        udf: Udf = read()
        udf.metadata = {**(udf.metadata or {}), "fused:git": known}
        return udf

    return marked


def _shown(repository: str) -> str:
    """Without user and password."""
    parts = urlsplit(repository)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl() if parts.scheme else repository


def _may_be_asked(repository: str) -> None:
    """In a function on a server the same addresses are refused as for ``fused.download``."""
    from fused import _download_address as addresses

    parts = urlsplit(repository)
    if addresses.only_public() and parts.hostname:
        addresses.resolve(parts.hostname, parts.port or 443, True)


class _Store:
    """The fetched objects of one repository, shared by all processes of this user."""

    def __init__(self, repository: str) -> None:
        from fused._file_path import root

        self.repository = repository
        if shutil.which("git") is None:
            raise SourceError("git is not installed: it fetches functions from repositories (apt install git)")
        folder = root("local") / "git"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder / hashlib.sha256(repository.encode()).hexdigest()[:32]
        if not (self._folder / "HEAD").exists():
            self._make()

    def _make(self) -> None:
        draft = self._folder.with_name(f"{self._folder.name}.{os.urandom(6).hex()}")
        self.git("init", "--quiet", "--bare", str(draft), at=None)
        try:
            draft.rename(self._folder)
        except OSError:  # another process was faster
            shutil.rmtree(draft)

    def git(self, *arguments: str, at: str | None = "") -> bytes:
        """Runs git; ``SourceError`` with what it said."""
        command = ["git", "-c", "core.hooksPath=/dev/null", "-c", "fetch.recurseSubmodules=false"]
        command += ["-c", "gc.auto=0", "-c", "protocol.ext.allow=never"]
        if at == "":
            command += ["--git-dir", str(self._folder)]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        environment |= {
            "GIT_TERMINAL_PROMPT": "0", "GIT_ALLOW_PROTOCOL": "https:http:ssh:git:file", "LC_ALL": "C",
            "GIT_SSH_COMMAND": "ssh -oBatchMode=yes", "GIT_OPTIONAL_LOCKS": "0",
        }  # fmt: skip
        try:
            done = subprocess.run(
                [*command, *arguments], env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=GIT_S,
                check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise SourceError(f"git did not fetch {_shown(self.repository)} within {GIT_S} s") from None
        if done.returncode != 0:
            said = done.stderr.decode("utf-8", "replace").replace(self.repository, _shown(self.repository)).strip()
            raise SourceError(f"git cannot read {_shown(self.repository)}: {said[-1000:] or done.returncode}")
        return done.stdout

    def resolve(self, address: Address) -> tuple[str, str]:
        """The commit, which is here then, and the path in it."""
        if address.rest is not None:
            first, _, path = address.rest.partition("/")
            if _COMMIT.match(first):
                address = replace(address, reference=first, path=path, rest=None)
        if address.reference and _COMMIT.match(address.reference):
            self._have(address.reference)
            return address.reference, address.path.strip("/")
        known = self._remote_references()
        if address.rest is not None:
            address = self._split(address, known)
        reference = address.reference or "HEAD"
        commit = _look_up(known, reference)
        if commit is None and _SHORT.match(reference):
            commit = self._short(reference)
        if commit is None:
            names = ", ".join(sorted(name.rpartition("/")[2] for name in known if name.startswith("refs/heads/"))[:10])
            raise SourceError(
                f"{_shown(self.repository)} has no branch, tag or commit {reference!r}; branches are {names or 'none'}"
            )
        self._have(commit, reference)
        return self.git(
            "rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}"
        ).decode().strip(), address.path.strip("/")

    def _remote_references(self) -> dict[str, str]:
        lines = self.git("ls-remote", "--", self.repository).decode("utf-8", "replace").splitlines()
        return {name: commit for commit, _, name in (line.partition("\t") for line in lines)}

    def _split(self, address: Address, known: dict[str, str]) -> Address:
        """``feature/x/folder``: the longest beginning that is a branch or tag."""
        pieces = (address.rest or "").split("/")
        for count in range(len(pieces), 0, -1):
            reference = "/".join(pieces[:count])
            if _look_up(known, reference) is not None:
                return replace(address, reference=reference, path="/".join(pieces[count:]), rest=None)
        return replace(
            address, reference=_reference(pieces[0], address.rest or ""), path="/".join(pieces[1:]), rest=None
        )

    def _has(self, commit: str) -> bool:
        try:
            self.git("cat-file", "-e", f"{commit}^{{tree}}")
        except SourceError:
            return False
        return True

    def _have(self, commit: str, reference: str | None = None) -> None:
        """Fetches the commit alone; where a server gives only what has a name, everything."""
        if self._has(commit):
            return
        wanted = [commit] if reference is None else [commit, reference]
        for each in wanted:
            try:
                self.git("fetch", "--quiet", "--depth=1", "--no-tags", "--", self.repository, each)
            except SourceError as error:
                refused = error
                continue
            if self._has(commit):
                return
        try:
            self.git("fetch", "--quiet", "--no-tags", "--", self.repository, "+refs/*:refs/fetched/*")
        except SourceError:
            raise refused from None
        if not self._has(commit):
            raise SourceError(f"{_shown(self.repository)} has no commit {commit}")

    def _short(self, text: str) -> str | None:
        """A commit by the first digits of its name: for that all must be here."""
        self.git("fetch", "--quiet", "--no-tags", "--", self.repository, "+refs/*:refs/fetched/*")
        try:
            return self.git("rev-parse", "--verify", "--quiet", f"{text}^{{commit}}").decode().strip()
        except SourceError:
            return None

    def kind(self, commit: str, path: str) -> str | None:
        """``"tree"``, ``"blob"``, or None where there is nothing."""
        if not path:
            return "tree"
        lines = self.git("ls-tree", "-z", commit, "--", path).split(b"\0")
        for line in lines:
            facts, _, name = line.partition(b"\t")
            if name.decode("utf-8", "replace") == path:
                return facts.split()[1].decode()
        return None


def _look_up(known: dict[str, str], reference: str) -> str | None:
    for name in (f"refs/tags/{reference}^{{}}", f"refs/tags/{reference}", f"refs/heads/{reference}", reference):
        if name in known:
            return known[name]
    return None


class GitTree:
    """One commit's files. Links are left out."""

    def __init__(self, store: _Store, commit: str, where: str) -> None:
        self._store, self._commit = store, commit
        self.where = _shown(where).removesuffix(".git")
        self._sizes: dict[str, int] = {}

    def entries(self, folder: str) -> tuple[list[str], list[str]]:
        files, folders = [], []
        prefix = f"{folder}/" if folder else ""
        arguments = ["ls-tree", "-z", "-l", self._commit, *(["--", prefix] if prefix else [])]
        for line in self._store.git(*arguments).split(b"\0"):
            facts, _, path = line.partition(b"\t")
            name = path.decode("utf-8", "replace").removeprefix(prefix)
            pieces = facts.split()
            if len(pieces) < 4 or not name:
                continue
            if pieces[1] == b"tree":
                folders.append(name)
            elif pieces[1] == b"blob" and pieces[0] in (b"100644", b"100755"):
                files.append(name)
                self._sizes[prefix + name] = int(pieces[3])
        return sorted(files), sorted(folders)

    def read(self, path: str) -> str:
        if path not in self._sizes:
            self.entries(path.rpartition("/")[0])
        if path not in self._sizes:
            raise FileNotFoundError(2, "not in the repository", path)
        if self._sizes[path] > MEMBER_BYTES_MAX:
            raise SourceError(f"{path!r} is larger than {MEMBER_BYTES_MAX >> 20} MiB")
        return decoded(self._store.git("cat-file", "blob", f"{self._commit}:{path}"), f"{self.where}/{path}")
