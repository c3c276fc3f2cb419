"""Parameters of a call in the form in which they enter a cache key: the twin of ``core/cache/canonical.cpp``.

Two values get one form only if a function with that annotation gets equal values; where that cannot be told from the
text, the bytes stand for themselves. ``tests/contract/parameters_canonical.json`` holds the cases for both.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterable, Mapping
from typing import Any

KINDS = ("other", "int", "float", "bool", "str", "list", "dict")

_SPACES = " \t\n\r\v\f"
_INTEGER = re.compile(r"[+-]?[0-9]+")
_REAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_NUMBER = re.compile(rb"-?(?:0|[1-9][0-9]*)(?P<real>(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)")
_WORDS = {b"true": b"T", b"false": b"F", b"null": b"N"}
_ESCAPES = dict(zip(b'"\\/bfnrt', b'"\\/\b\f\n\r\t', strict=True))
_INTEGER_CHARACTERS_MAX = 4_000
_REAL_CHARACTERS_MAX = 400


def canonical_text(kind: str, text: str) -> bytes:
    """A value that came as text; ``kind`` is one of KINDS, with ``?`` behind it where None is allowed."""
    plain, optional = kind.removesuffix("?"), kind.endswith("?")
    raw = b"t" + _bytes(text)
    if optional and plain not in ("str", "other") and _lower(text) in ("", "null", "none"):
        return b"n"
    match plain:
        case "int":
            digits = _digits(text)
            return raw if digits is None else b"i" + digits
        case "float":
            bits = _real(text)
            return raw if bits is None else b"f" + bits
        case "bool":
            return b"b1" if text != "" and _lower(text) != "false" else b"b0"
        case "str":
            return b"s" + _bytes(text)
        case "list" | "dict":
            tokens = _Lexer(_bytes(text)).run()
            return raw if tokens is None else b"J" + tokens
        case _:
            return raw


def canonical_json(kind: str, value: Any) -> bytes:
    """A value that came as JSON."""
    plain = kind.removesuffix("?")
    if value is None:
        return b"n"
    if isinstance(value, str):
        return canonical_text(kind, value)
    match plain:
        case "int" if isinstance(value, bool | int):
            return b"i%d" % int(value)
        case "int" if isinstance(value, float) and math.isfinite(value) and value.is_integer():
            return b"i%d" % int(value)
        case "float" if isinstance(value, bool | int | float):
            return b"f" + _bits(float(value))
        case "bool":
            return b"b1" if value else b"b0"
        case "str" if isinstance(value, bool):
            return b"strue" if value else b"sfalse"
        case "str" if isinstance(value, int):
            return b"s%d" % value
        case _:
            return b"J" + _tokens(value)


def canonical_parameters(
    signature: Mapping[str, str],
    rest: str | None,
    beneath: Mapping[str, Any],
    query: Iterable[tuple[str, str]],
    typed: Mapping[str, Any],
) -> list[tuple[str, bytes]]:
    """All that the request gives, by name: ``beneath`` under ``query`` under ``typed``."""

    def kind_of(name: str) -> str:
        return signature.get(name, rest or "other")

    given = {name: canonical_json(kind_of(name), value) for name, value in beneath.items()}
    texts: dict[str, list[str]] = {}
    for name, text in query:
        texts.setdefault(name, []).append(text)
    for name, values in texts.items():
        kind = kind_of(name)
        if len(values) > 1 and kind.removesuffix("?") in ("list", "other"):
            given[name] = b"m" + b"".join(b"%d:%s" % (len(_bytes(text)), _bytes(text)) for text in values)
        else:
            given[name] = canonical_text(kind, values[-1])
    given.update({name: canonical_json(kind_of(name), value) for name, value in typed.items()})
    return sorted(given.items(), key=lambda item: _bytes(item[0]))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _lower(text: str) -> str:
    return "".join(chr(ord(letter) + 32) if "A" <= letter <= "Z" else letter for letter in text)


def _digits(text: str) -> bytes | None:
    text = text.strip(_SPACES)
    if len(_bytes(text)) > _INTEGER_CHARACTERS_MAX or not _INTEGER.fullmatch(text):
        return None
    digits = text.lstrip("+-").lstrip("0") or "0"
    return (b"-" if text[0] == "-" and digits != "0" else b"") + digits.encode()


def _bits(value: float) -> bytes:
    return struct.pack(">d", math.nan if math.isnan(value) else value)


def _real(text: str) -> bytes | None:
    text = text.strip(_SPACES)
    if len(_bytes(text)) > _REAL_CHARACTERS_MAX or not _REAL.fullmatch(text):
        return None
    value = float(text)
    # Out of range upwards and downwards: Python's inf and 0 have other texts as well.
    if math.isinf(value) or (value == 0 and re.search(r"[1-9]", re.split("[eE]", text)[0])):
        return None
    return _bits(value)


def _string(text: bytes) -> bytes:
    return b"s%d:%s" % (len(text), text)


def _tokens(value: Any) -> bytes:
    match value:
        case None:
            return b"N"
        case bool():
            return b"T" if value else b"F"
        case int():
            return b"i%d" % value
        case float():
            return b"f" + _bits(value)
        case str():
            return _string(_bytes(value))
        case list() | tuple():
            return b"[" + b",".join(map(_tokens, value)) + b"]"
        case dict():
            return b"{" + b",".join(_string(_bytes(key)) + b":" + _tokens(item) for key, item in value.items()) + b"}"
        case _:
            raise TypeError(f"a value of type {type(value).__name__} is no JSON")


class _Lexer:
    def __init__(self, text: bytes) -> None:
        self._text, self._at, self._out, self._after_number = text, 0, bytearray(), 0

    def run(self) -> bytes | None:
        text = self._text
        while True:
            while self._at < len(text) and text[self._at] in b" \t\n\r":
                self._at += 1
            if self._at == len(text):
                return bytes(self._out)
            if not self._token():
                return None

    def _token(self) -> bool:
        letter = self._text[self._at : self._at + 1]
        if letter in (b"[", b"]", b"{", b"}", b",", b":"):
            self._out += letter
            self._at += 1
            return True
        if letter == b'"':
            return self._string()
        for word, token in _WORDS.items():
            if self._text.startswith(word, self._at):
                self._out += token
                self._at += len(word)
                return True
        return self._number()

    def _number(self) -> bool:
        found = _NUMBER.match(self._text, self._at)
        if found is None or self._text[found.end() : found.end() + 1].isdigit():
            return False
        follows = self._text[found.end() : found.end() + 1]
        if follows in (b".", b"e", b"E") or (self._out and self._after_number == len(self._out)):
            return False
        text = found.group().decode()
        token = _real(text) if found["real"] else _digits(text)
        if token is None:
            return False
        self._out += (b"f" if found["real"] else b"i") + token
        self._after_number = len(self._out)
        self._at = found.end()
        return True

    def _string(self) -> bool:
        text, out = self._text, bytearray()
        self._at += 1
        while True:
            if self._at >= len(text):
                return False
            byte = text[self._at]
            self._at += 1
            if byte == 0x22:
                break
            if byte < 0x20:
                return False
            if byte != 0x5C:
                out.append(byte)
            elif not self._escape(out):
                return False
        self._out += _string(bytes(out))
        return True

    def _escape(self, out: bytearray) -> bool:
        if self._at >= len(self._text):
            return False
        byte = self._text[self._at]
        self._at += 1
        if byte in _ESCAPES:
            out.append(_ESCAPES[byte])
            return True
        code = self._hex() if byte == 0x75 else None
        if code is None:
            return False
        if 0xD800 <= code < 0xE000:
            if code >= 0xDC00 or self._text[self._at : self._at + 2] != b"\\u":
                return False
            self._at += 2
            low = self._hex()
            if low is None or not 0xDC00 <= low < 0xE000:
                return False
            code = 0x10000 + ((code - 0xD800) << 10) + low - 0xDC00
        out += chr(code).encode()
        return True

    def _hex(self) -> int | None:
        digits = self._text[self._at : self._at + 4]
        if not re.fullmatch(rb"[0-9a-fA-F]{4}", digits):
            return None
        self._at += 4
        return int(digits, 16)
