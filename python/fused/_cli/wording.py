"""Messages of the SDK in the words of the command: options as they are typed there."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping


def spoken(text: str, given: argparse.Namespace) -> str:
    """``cache_max_age='soon' is …`` as ``--cache-max-age 'soon' is …``, by the options of the command that was given.

    A command whose SDK calls them otherwise says so by ``set_defaults(python_names={"expires_in": "--expires"})``; a
    key that is no name is replaced where it stands. Names in quotes are left: they may be a function's own.
    """
    others: Mapping[str, str] = getattr(given, "python_names", {})
    names = {**_of_parser(getattr(given, "parser", None)), **others}
    for name, option in names.items():
        if not name.isidentifier():
            text = text.replace(name, option)
            continue
        begins = rf"(?<![\w'\"./-]){name}"
        text = re.sub(rf"{begins}=(?:True\b(?: \({option}\))?)", option, text)
        text = re.sub(rf"{begins}=(?=[^\s=])", f"{option} ", text)
        if "_" in name:  # others are words of any sentence
            text = re.sub(rf"{begins}(?![\w'\"=])", option, text)
            text = re.sub(rf"'{name}'(?= (?:is|must|has|names|holds|cannot)\b)", option, text)
    return text


def _of_parser(parser: argparse.ArgumentParser | None) -> dict[str, str]:
    found = {}
    for action in [] if parser is None else parser._actions:
        long = next((option for option in action.option_strings if option.startswith("--")), None)
        if long is not None and action.dest != "help":
            found[action.dest] = long
    return found
