"""A small OpenStreetMap extract in its PBF form, made here: nodes, tagged points, a road and a building."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from pathlib import Path


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def signed(value: int) -> bytes:
    return varint(value << 1 if value >= 0 else (-value << 1) - 1)


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def text(field: int, value: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(value)) + value


def deltas(values: Iterable[int]) -> bytes:
    before, out = 0, b""
    for value in values:
        out += signed(value - before)
        before = value
    return out


def blob(kind: bytes, data: bytes) -> bytes:
    body = number(2, len(data)) + text(3, zlib.compress(data))
    header = text(1, kind) + number(3, len(body))
    return struct.pack(">I", len(header)) + header + body


def write_extract(path: Path) -> None:
    """Three tagged points, one ``highway`` of three nodes, one ``building`` of four."""
    strings = [b""]

    def string(value: str) -> int:
        if value.encode() not in strings:
            strings.append(value.encode())
        return strings.index(value.encode())

    places = [(9.50, 47.10), (9.51, 47.11), (9.52, 47.12), (9.53, 47.13), (9.531, 47.13), (9.531, 47.131)]
    places.append((9.53, 47.131))
    tags = {0: {"name": "one"}, 1: {"name": "two"}, 2: {"name": "three"}}
    kinds: list[int] = []
    for index in range(len(places)):
        for key, value in tags.get(index, {}).items():
            kinds += [string(key), string(value)]
        kinds.append(0)
    dense = text(1, deltas(range(1, len(places) + 1)))
    dense += text(8, deltas(round(y * 1e7) for _, y in places)) + text(9, deltas(round(x * 1e7) for x, _ in places))
    dense += text(10, b"".join(map(varint, kinds)))
    ways = b""
    for identity, key, value, nodes in ((1, "highway", "path", [1, 2, 3]), (2, "building", "yes", [4, 5, 6, 7, 4])):
        way = number(1, identity) + text(2, varint(string(key))) + text(3, varint(string(value)))
        ways += text(3, way + text(8, deltas(nodes)))
    table = b"".join(text(1, each) for each in strings)
    block = text(1, table) + text(2, text(2, dense)) + text(2, ways)
    features = text(4, b"OsmSchema-V0.6") + text(4, b"DenseNodes")
    path.write_bytes(blob(b"OSMHeader", features) + blob(b"OSMData", block))
