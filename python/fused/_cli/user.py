"""``fused user``: who belongs to the organisation."""

from __future__ import annotations

import argparse
from typing import Any

from fused._cli.verbs import add_verb

HELP = """\
  fused user add ann@example.org       prints the token that ann signs in with
  fused user list
  fused user role ann@example.org owner
  fused user rm ann@example.org        her tokens end, her functions stay
"""
ADD = """\
  fused user add ann@example.org                  a member, called ann
  fused user add bob@example.org --role owner --username bob.b
"""
LIST = """\
  fused user list
"""
ROLE = """\
  fused user role ann@example.org owner     may manage people and everybody's functions
  fused user role ann@example.org member    her own functions only; the last owner stays one
"""
RM = """\
  fused user rm ann@example.org        signed out everywhere at once; functions and files stay
"""
ENABLE = """\
  fused user enable ann@example.org    then make her a token: fused token api create first --user ann@example.org
"""


def add_parser(verbs: Any) -> None:
    parser = add_verb(verbs, "user", "people of your organisation (for owners)", HELP)
    acts = parser.add_subparsers(metavar="ACTION")
    each = add_verb(acts, "add", "add somebody; prints a first token", ADD, act_add)
    each.add_argument("email", metavar="EMAIL")
    each.add_argument("--username", metavar="NAME", help="of the home folder (default: the e-mail before the @)")
    each.add_argument("--role", choices=("member", "owner"), default="member")
    add_verb(acts, "list", "list everybody", LIST, act_list)
    each = add_verb(acts, "role", "change somebody's role", ROLE, act_role)
    each.add_argument("email", metavar="EMAIL")
    each.add_argument("role", choices=("member", "owner"))
    each = add_verb(acts, "rm", "shut somebody out", RM, act_rm)
    each.add_argument("emails", metavar="EMAIL", nargs="+")
    each = add_verb(acts, "enable", "let somebody in again", ENABLE, act_enable)
    each.add_argument("email", metavar="EMAIL")


def act_add(given: argparse.Namespace) -> int:
    from fused._people import add_user

    made = add_user(given.email, given.username, given.role)
    print(
        f"added  {made['email']} ({made['role']}, home {made['username']})\ntoken  {made['token']}\n"
        "The token is shown this once: hand it over; it is used with `fused login`."
    )
    return 0


def act_list(given: argparse.Namespace) -> int:
    from fused._cli.show import print_table
    from fused._people import users

    rows = [(user["email"], user["role"], user["username"], "yes" if user["enabled"] else "no") for user in users()]
    print_table(("email", "role", "home", "enabled"), rows, "nobody")
    return 0


def act_role(given: argparse.Namespace) -> int:
    from fused._people import change_user

    changed = change_user(given.email, role=given.role)
    print(f"{changed['email']} is {changed['role']} now")
    return 0


def act_rm(given: argparse.Namespace) -> int:
    from fused._people import change_user

    for email in given.emails:
        print(f"shut out {change_user(email, enabled=False)['email']}: all tokens are revoked, functions stay")
    return 0


def act_enable(given: argparse.Namespace) -> int:
    from fused._people import change_user

    changed = change_user(given.email, enabled=True)
    print(f"enabled {changed['email']}; make a token with `fused token api create first --user {changed['email']}`")
    return 0
