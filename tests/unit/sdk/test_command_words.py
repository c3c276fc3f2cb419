"""The command's own words: every option is in the reference, and messages call options as they are typed."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fused._cli import make_parser
from fused._cli.wording import spoken

REFERENCE = Path(__file__).parents[3] / "docs" / "reference" / "sdk.md"


def commands(parser: argparse.ArgumentParser, words: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not groups:
        yield " ".join(words), parser
    for group in groups:
        for name, inner in group.choices.items():
            yield from commands(inner, (*words, name))


COMMANDS = dict(commands(make_parser()))


def told() -> dict[str, str]:
    """Of the reference: the options of each command."""
    section = REFERENCE.read_text().partition("## The command\n")[2].partition("\n## ")[0]
    found = {}
    for usage, options in re.findall(r"^\| `fused ([^`]+)` \|((?:[^|\\]|\\.)*)\|", section, re.MULTILINE):
        words = usage.split()
        while " ".join(words) not in COMMANDS and words:
            words.pop()
        assert words, f"the reference has a command that there is not: fused {usage}"
        found[" ".join(words)] = options
    return found


def test_the_reference_has_every_command() -> None:
    assert set(told()) == set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_reference_has_every_option_of_a_command_and_no_other(command: str) -> None:
    known = {option for action in COMMANDS[command]._actions for option in action.option_strings}
    known -= {"-h", "--help"}
    assert set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", told()[command])) == known


@pytest.mark.parametrize(
    ("line", "message", "said"),
    [
        ("run f", "cache_max_age='soon' is not a duration", "--cache-max-age 'soon' is not a duration"),
        ("run f", "max_retry=-1 is not a whole number", "--max-retry -1 is not a whole number"),
        ("run f", "on_timeout is ignored: engine='local' has", "--on-timeout is ignored: --engine 'local' has"),
        ("run f", "f has no parameter 'max_retry'; its", "f has no parameter 'max_retry'; its"),
        ("run f", "parameter 'rows': 'x' cannot be read", "parameter 'rows': 'x' cannot be read"),
        ("token create f", "expires_in='x' is not", "--expires 'x' is not"),
        ("token api create f", "'expires_in' must be 1 second", "--expires must be 1 second"),
        ("schedule add f x", "'time_zone' is 'X/Y'; it", "--time-zone is 'X/Y'; it"),
        ("ingest a b", "load_columns names 'zz'", "--columns names 'zz'"),
        ("ingest a b", "overwrite=True (--overwrite) replaces", "--overwrite replaces"),
        ("ingest a b", "left out (drop_out_of_bounds=False keeps", "left out (--keep-out-of-bounds keeps"),
        ("ingest a b", "choose one with gdal_config={'layer': …}", "choose one with --layer NAME"),
        ("jobs rerun f", "instance_type 'nope' is unknown", "--instance-type 'nope' is unknown"),
    ],
)
def test_messages_name_options_as_they_are_typed(line: str, message: str, said: str) -> None:
    assert spoken(message, make_parser().parse_args(line.split())) == said
