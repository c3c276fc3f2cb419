"""How the commands describe themselves: each has an example, and a wrong option is answered by its own usage."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Callable, Sequence
from typing import Any, NoReturn


def add_verb(
    parsers: Any, name: str, summary: str, examples: str, act: Callable[[argparse.Namespace], int] | None = None
) -> argparse.ArgumentParser:
    """A command of ``parsers`` (what ``add_subparsers`` gave); ``examples`` stand below its options, one a line.

    Without ``act`` it is a group: it shows its help and has commands of its own.
    """
    parser: argparse.ArgumentParser = parsers.add_parser(
        name,
        help=summary,
        description=f"{summary[:1].upper()}{summary[1:]}.",
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(parser=parser, verb=parser.prog.removeprefix("fused "))
    if act is not None:
        parser.set_defaults(act=act)
    return parser


def refuse_unknown(parser: argparse.ArgumentParser, unknown: Sequence[str]) -> NoReturn:
    """Exit code 2: names what was not understood, and the option that is written nearly so."""
    known = [option for action in parser._actions for option in action.option_strings if option.startswith("--")]
    near = [name for text in unknown for name in difflib.get_close_matches(text.partition("=")[0], known, 1)]
    advice = f"; did you mean {', '.join(dict.fromkeys(near))}?" if near else ""
    parser.error(f"not understood: {' '.join(unknown)}{advice}")
