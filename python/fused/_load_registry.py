"""Several functions under one roof: what ``fused.load`` gives for a folder, zip or repository with more than one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from fused.models.udf import Udf


class UdfRegistry(Mapping[str, Udf]):
    """Functions by name: ``functions["tiles"]`` or ``functions.tiles``; each is read when it is asked for.

    One that cannot be read raises its ``SourceError`` when it is picked; the others work.
    """

    def __init__(self, found: Mapping[str, Callable[[], Udf]], where: str) -> None:
        self._found = dict(found)
        self._read: dict[str, Udf] = {}
        self._where = where

    def __getitem__(self, name: str) -> Udf:
        if name not in self._found:
            raise KeyError(f"{self._where!r} has no function {name!r}; it has {', '.join(self._found)}")
        if name not in self._read:
            self._read[name] = self._found[name]()
        return self._read[name]

    def __getattr__(self, name: str) -> Udf:
        if name.startswith("_") or name not in self.__dict__.get("_found", {}):
            known = ", ".join(self.__dict__.get("_found", {}))
            raise AttributeError(f"there is no function {name!r} among those loaded; they are {known}")
        return self[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *(name for name in self._found if name.isidentifier())]

    def copy(self) -> UdfRegistry:
        """An independent one: what was read is copied with it."""
        twin = UdfRegistry(self._found, self._where)
        twin._read = {name: udf.copy() for name, udf in self._read.items()}
        return twin

    def __repr__(self) -> str:
        return f"<{len(self)} functions of {self._where!r}: {', '.join(self._found)}>"
