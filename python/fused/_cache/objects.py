"""``storage="object"``: entries also lie in the organisation's S3 home, where seed 004 has them.

``s3://fused-users/{org}/fused-system/fused-cache/{user_email}/{udf_name}/output/{hash}/entry`` is the same file as the
one below ``/mount``, which stays in front of it: what is found there is read by memory map, what is not is fetched. So
an entry outlives the mount, and other servers of the organisation find it. It is checked as any other when it is read.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

from fused import _object_store
from fused._cache import place
from fused._cache.errors import say_once

if TYPE_CHECKING:
    from fused._cache.flow import Call

BUCKET = "fused-users"
_systems: dict[tuple[int, str | None], Any] = {}


def name_of(call: Call) -> str | None:
    """Bucket and key of a call's entry; None where there is no S3 home, which is said once."""
    values = getattr(place.run_of_server(), "values", {})
    organisation, email = values.get("organisation"), values.get("owner_email")
    if not organisation or not email:
        _only_here("storage='object': there is an S3 home in functions on a server, and here is none")
        return None
    if _object_store.endpoint() is None:
        _only_here("storage='object': this server has no object store (fused serve --s3-endpoint URL)")
        return None
    level = place.level_of(call.fn)
    return f"{BUCKET}/{organisation}/fused-system/fused-cache/{email}/{level}/output/{call.name}/entry"


def _only_here(why: str) -> None:
    say_once("no object store", f"@fused.cache: {why}; entries are kept as with storage='auto'")


def _system() -> Any:
    key = (os.getpid(), _object_store.endpoint())  # a forked child makes its own
    if key not in _systems:
        _systems.clear()
        _systems[key] = _object_store.object_store()
    return _systems[key]


def fetch(call: Call) -> bool:
    """Puts the object in the place of the missing file. What it holds is looked at by whoever reads that file."""
    name = name_of(call)
    if name is None:
        return False
    draft = f"{call.folder_text}/.data_{call.name}.{os.urandom(8).hex()}"
    try:
        with _system().open_input_stream(name) as source:
            file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(file, "wb") as target:
                while part := source.read(1 << 20):
                    target.write(part)
        os.rename(draft, call.path)
        return True
    except FileNotFoundError:
        return False
    except Exception as error:
        _failed("be asked", error)
        return False
    finally:
        with contextlib.suppress(OSError):
            os.unlink(draft)


def send(call: Call) -> None:
    """Puts the entry that was just written into the store."""
    name = name_of(call)
    if name is None:
        return
    try:
        _object_store.put_file(_system(), name, call.path, "application/octet-stream")
    except Exception as error:
        _failed("take an entry", error)


def _failed(what: str, error: Exception) -> None:
    why = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
    say_once(
        f"object store: {what}",
        f"@fused.cache: the object store {_object_store.endpoint()} cannot {what}: {why}; entries are kept on /mount. "
        "Functions have the keys of the server's environment only where it was started with --share-s3-keys",
    )
