"""``fused token``: share tokens. Whoever has one may run the one function it was made for."""

from __future__ import annotations

import argparse
from typing import Any

HELP = """\
  fused token create hello             prints the addresses to hand out
  fused token list
  fused token rm fsh_…                 from the next request on it is refused
"""


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "token", help="share functions, revoke it", epilog=HELP, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.set_defaults(verb="token", parser=parser)
    acts = parser.add_subparsers(metavar="ACTION")
    each = acts.add_parser("create", help="make a share token for a saved function")
    each.add_argument("name", metavar="NAME")
    each.add_argument("--expires", metavar="AGE", help="refused after it, as 12h or 7d (default: never)")
    each.set_defaults(act=act_create, verb="token create")
    each = acts.add_parser("list", help="share tokens")
    each.add_argument("name", metavar="NAME", nargs="?", help="of this function only")
    each.set_defaults(act=act_list, verb="token list")
    each = acts.add_parser("rm", help="revoke share tokens")
    each.add_argument("tokens", metavar="TOKEN", nargs="+")
    each.set_defaults(act=act_rm, verb="token rm")


def act_create(given: argparse.Namespace) -> int:
    import fused

    made = fused.load(given.name).create_access_token(expires_in=given.expires)
    print(f"token  {made.token}\nrun    {made.get_file_url()}\ntiles  {made.get_tile_url()}")
    return 0


def act_list(given: argparse.Namespace) -> int:
    import fused
    from fused._cli.show import print_table
    from fused._saved import access_tokens

    found = access_tokens(fused.load(given.name) if given.name else None)
    rows = [(each.token, each.udf_slug, "yes" if each.enabled else "no", each.expires_at or "never") for each in found]
    print_table(
        ("token", "function", "enabled", "expires"), rows, "no share tokens; make one with `fused token create NAME`"
    )
    return 0


def act_rm(given: argparse.Namespace) -> int:
    from fused.models import UdfAccessToken

    for token in given.tokens:
        UdfAccessToken(token).delete()
        print(f"revoked {token}")
    return 0
