"""``fused login``: remembers a server and a token."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from fused._cli.verbs import add_verb

HELP = """\
  fused login --token-file data/token                 a server on this machine
  fused login --url https://maps.example.com          asks for the token
  ssh host cat data/token | fused login --url https://host:8783

The token is checked with the server, then ~/.fused/credentials (readable by you alone) and ~/.fused/settings.toml are
written. The owner's token is in the server's data folder, in the file `token`.
"""
DEFAULT_URL = "http://127.0.0.1:8783"


def add_parser(verbs: Any) -> None:
    parser = add_verb(verbs, "login", "remember a server and a token", HELP, act)
    parser.add_argument("--url", metavar="URL", help=f"the server (default {DEFAULT_URL})")
    parser.add_argument(
        "--token-file", metavar="FILE", help="a file with the token; default: ask, or read standard input"
    )
    parser.add_argument("--logout", action="store_true", help="forget the token")


def act(given: argparse.Namespace) -> int:
    from fused import _settings_file
    from fused._options import clean_url, options
    from fused._saved import whoami
    from fused.errors import AuthenticationError, TransportError

    if given.logout:
        _settings_file.credentials_path().unlink(missing_ok=True)
        print(f"forgot the token ({_settings_file.credentials_path()} is gone)")
        return 0
    url = clean_url(given.url or DEFAULT_URL, "--url")
    token = read_token(given.token_file)
    options.base_url, options.auth_token, options.auth_token_type = url, token, "Bearer"
    try:
        who = whoami()
    except AuthenticationError as error:
        raise ValueError(
            f"{url} does not know this token: it is wrong, revoked or another server's. The owner's lies in the file "
            f"`token` of the server's data folder [request id {error.request_id}]"
        ) from None
    except TransportError as error:
        if given.url:
            raise
        raise TransportError(f"{error} Another address is named by --url, as --url http://127.0.0.1:9000") from None
    kept = _settings_file.write_credentials(token, url)
    settings = _settings_file.write_settings({**_settings_file.read_settings(), "base_url": url})
    print(f"signed in to {url} as {who.get('email')}; written: {kept}, {settings}")
    return 0


def read_token(file: str | None) -> str:
    """From the file, from standard input when that is no terminal, else by asking; never from the command line,
    where every user of the machine could read it."""
    if file:
        token = Path(file).expanduser().read_text(encoding="utf-8").strip()
    elif sys.stdin.isatty():
        import getpass

        token = getpass.getpass("token: ").strip()
    else:
        token = sys.stdin.readline().strip()
    if not token or any(letter.isspace() for letter in token):
        raise ValueError(f"{file or 'standard input'} holds no token: one line without spaces is wanted")
    return token
