"""``fused token``: share tokens (whoever has one may run the one function it was made for) and, below ``api``, the
tokens that people and programs sign in with.
"""

from __future__ import annotations

import argparse
from typing import Any

from fused._cli.verbs import add_verb

HELP = """\
  fused token create hello             a share token: prints the addresses to hand out
  fused token list
  fused token rm fsh_…                 from the next request on it is refused
  fused token api create laptop        an API token: signs in as you, on another computer or in a program
"""
CREATE = """\
  fused token create hello
  fused token create hello --expires 7d
"""
LIST = """\
  fused token list
  fused token list hello               of this function only
"""
RM = """\
  fused token rm fsh_…                 from the next request on it is refused
"""
API = """\
  fused token api create laptop --expires 90d
  fused token api list                 names, ends, ids; never the tokens themselves
  fused token api revoke laptop
"""
API_CREATE = """\
  fused token api create laptop        the token is shown this once: keep it as you keep a password
  fused token api create nightly --expires 30d
  fused token api create first --user ann@example.org    for somebody else (owners)
"""
API_LIST = """\
  fused token api list
  fused token api list --user ann@example.org
"""
API_REVOKE = """\
  fused token api revoke laptop        by name, or by the id that `list` shows; dead from the next request on
"""
NAMES = {"expires_in": "--expires"}  # of the SDK, and what they are called here


def add_parser(verbs: Any) -> None:
    parser = add_verb(verbs, "token", "share functions, revoke it; tokens to sign in with", HELP)
    acts = parser.add_subparsers(metavar="ACTION")
    each = add_verb(acts, "create", "make a share token for a function", CREATE, act_create)
    each.add_argument("name", metavar="NAME", help="of a saved function, or one of the served folder")
    each.add_argument("--expires", metavar="AGE", help="refused after it, as 12h or 7d (default: never)")
    each.set_defaults(python_names=NAMES)
    each = add_verb(acts, "list", "list share tokens", LIST, act_list)
    each.add_argument("name", metavar="NAME", nargs="?", help="of this function only")
    each = add_verb(acts, "rm", "revoke share tokens", RM, act_rm)
    each.add_argument("tokens", metavar="TOKEN", nargs="+")
    api = add_verb(acts, "api", "tokens that people and programs sign in with", API)
    acts = api.add_subparsers(metavar="ACTION")
    each = add_verb(acts, "create", "make an API token; it is shown once", API_CREATE, act_api_create)
    each.add_argument("name", metavar="NAME", help="what it is for")
    each.add_argument("--expires", metavar="AGE", help="refused after it, as 12h or 30d (default: never)")
    each.set_defaults(python_names=NAMES)
    _add_user(each)
    _add_user(add_verb(acts, "list", "list API tokens", API_LIST, act_api_list))
    each = add_verb(acts, "revoke", "end API tokens", API_REVOKE, act_api_revoke)
    each.add_argument("names", metavar="NAME|ID", nargs="+")
    _add_user(each)


def _add_user(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--user", metavar="EMAIL", help="of this user (owners; default: yourself)")


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
    rows = [
        (
            each.token,
            each.udf_slug if each.table is None else f"table {each.table}",
            "yes" if each.enabled else "no",
            each.expires_at or "never",
        )
        for each in found
    ]
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


def act_api_create(given: argparse.Namespace) -> int:
    from fused._people import create_api_token

    made = create_api_token(given.name, given.expires, given.user)
    print(
        f"token    {made['token']}\nname     {made['name']}\nexpires  {made['expires_at'] or 'never'}\n"
        "It is shown this once. Sign in with `fused login`, or set FUSED_AUTH_TOKEN to it."
    )
    return 0


def act_api_list(given: argparse.Namespace) -> int:
    from fused._cli.show import print_table
    from fused._people import api_tokens

    rows = [
        (each["name"], each["created_at"], each["expires_at"] or "never", each["id"]) for each in api_tokens(given.user)
    ]
    print_table(("name", "created", "expires", "id"), rows, "no API tokens")
    return 0


def act_api_revoke(given: argparse.Namespace) -> int:
    from fused._people import revoke_api_token

    for name in given.names:
        revoked = revoke_api_token(name, given.user)
        print(f"revoked {revoked['name']} ({revoked['id']})")
    return 0
