"""Every route asked as nobody, by a share token, as a member and as owner of another organisation: generated from the
router, so that a new route is asked too."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conftest import SERVER, Server
from tests.contract.conftest import People, Row, ask, check_error, server_rows
from tests.counts import tell

ROWS = server_rows() if SERVER.exists() else []
UNKNOWN = "fsh_" + "0" * 64


def filled(row: Row, people: People, share: str) -> str:
    """The row's path with the owner's own things in its braces: what a stranger would reach for."""
    values = {
        "token": share,
        "id": people.function_id
        if any(part in row.pattern for part in ("/udf/", "/udf-cache/", "/functions/"))
        else people.owner_id,
        "slug": people.function_slug,
        "name": "default" if "/collection/" in row.pattern else people.function_slug,
        "leaf": "file" if "shared" in row.pattern or "/revisions/" in row.pattern else people.function_slug,
        "email": "owner@localhost",
        "handle": "owner",
        "collection": "default",
        "client_id": "local",
        "run_id": "00000000-0000-4000-8000-000000000000",
        "batch_id": "00000000-0000-4000-8000-000000000000",
        "z": "1",
        "x": "0",
        "y": "0",
        "revision": "0",
        "token_id": "0",
        "asset": "map.js",
        "job_id": people.job_id,
        "attempt_id": "0" * 64,
    }
    path = row.pattern
    for name, value in values.items():
        path = path.replace("{" + name + "}", value)
    assert "{" not in path, f"{row}: say in filled() what stands for the braces"
    return path


def send(server: Server, row: Row, people: People, token: str, share: str = UNKNOWN) -> Any:
    body = b"{}" if row.method == "POST" else None
    headers = {"Content-Type": "application/json"} if body else {}
    return ask(server, row.method, filled(row, people, share), token, body, headers)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_nobody_gets_only_what_is_open(row: Row, server: Server, people: People, error_schema: dict[str, Any]) -> None:
    for token in ("", "no-such-token", UNKNOWN):
        answer = send(server, row, people, token)
        if row.access == "open":
            assert answer.status < 500 and answer.status != 401, answer
        elif row.access == "share_path":
            assert answer.status == 404, answer
            check_error(answer, error_schema)
        else:
            assert answer.status == 401, answer
            assert check_error(answer, error_schema)["error_type"] == "unauthenticated"


@pytest.mark.parametrize("row", [row for row in ROWS if row.access not in ("open", "share_path")], ids=str)
def test_a_share_token_opens_nothing_but_its_own_address(
    row: Row, server: Server, people: People, error_schema: dict[str, Any]
) -> None:
    answer = send(server, row, people, people.share)
    assert answer.status == 403, answer
    check_error(answer, error_schema)


@pytest.mark.parametrize("row", [row for row in ROWS if row.access == "owner"], ids=str)
def test_a_member_is_no_owner(row: Row, server: Server, people: People, error_schema: dict[str, Any]) -> None:
    answer = send(server, row, people, people.member)
    assert answer.status == 403, answer
    check_error(answer, error_schema)


# What names nothing of another organisation: its answer is about the asker.
OWN = {
    "index_page", "metrics", "list_own_functions", "list_team_functions", "list_public_functions", "code_proxy",
    "get_collection", "list_own_collections", "list_own_collections_lite", "list_team_collections",
    "list_team_collections_lite", "list_share_tokens", "list_all_share_tokens", "who_am_i", "list_instances",
    "list_available_instances", "get_environment", "get_environment_token", "list_users", "list_tables", "list_jobs",
    "list_own_jobs", "list_own_cronjobs", "list_cronjobs_of_function", "list_schedules",
}  # fmt: skip


@pytest.mark.parametrize(
    "row",
    [row for row in ROWS if row.access not in ("open", "share_path") and row.operation not in OWN],
    ids=str,
)
def test_an_owner_of_another_organisation_reaches_nothing_of_ours(
    row: Row, server: Server, people: People, error_schema: dict[str, Any]
) -> None:
    answer = send(server, row, people, people.stranger, people.share)
    assert 400 <= answer.status < 500, answer
    check_error(answer, error_schema)
    assert b"def udf" not in answer.body


@pytest.mark.parametrize("row", [row for row in ROWS if row.operation in OWN], ids=str)
def test_lists_of_another_organisation_hold_nothing_of_ours(row: Row, server: Server, people: People) -> None:
    answer = send(server, row, people, people.stranger)
    assert answer.status < 500, answer
    for ours in (people.function_id, people.share, "owner@localhost"):
        assert ours.encode() not in answer.body, (row, ours)


def test_the_matrix_has_asked_every_route() -> None:
    assert len(ROWS) >= 70
    tell(f"{len(ROWS)} routes asked as nobody, share token, member and owner of another organisation")


@pytest.mark.parametrize(
    "scheme", ["Bearer", "bearer", "Fused-Env-Bearer", "Fused-Rtenv-Bearer", "Fused-Service-Token"]
)
def test_the_four_schemes_of_a_token_mean_the_same(scheme: str, server: Server) -> None:
    answer = ask(server, "GET", "/server/v1/user/self", headers={"Authorization": f"{scheme} {server.token}"})
    assert answer.status == 200 and answer.json()["email"] == "owner@localhost"


@pytest.mark.parametrize("scheme", ["Basic", "Token", "", "Bearer:"])
def test_another_scheme_is_nobody(scheme: str, server: Server) -> None:
    assert (
        ask(server, "GET", "/server/v1/user/self", headers={"Authorization": f"{scheme} {server.token}"}).status == 401
    )


def test_a_session_cookie_opens_the_page_and_no_api(server: Server) -> None:
    form = f"token={server.token}".encode()
    signed = ask(server, "POST", "/sign-in", body=form, headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert signed.status == 303
    cookie = signed.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
    session = cookie.split(";")[0]
    assert server.token not in cookie
    assert b"owner@localhost" in ask(server, "GET", "/", headers={"Cookie": session}).body
    assert b"owner@localhost" not in ask(server, "GET", "/").body
    assert ask(server, "GET", "/server/v1/user/self", headers={"Cookie": session}).status == 401
    foreign = {"Cookie": session, "Origin": "https://evil.example"}
    assert ask(server, "POST", "/sign-out", body=b"", headers=foreign).status == 403
    assert ask(server, "POST", "/sign-out", body=b"", headers={"Cookie": session}).status == 303
    assert b"owner@localhost" not in ask(server, "GET", "/", headers={"Cookie": session}).body


def test_a_wrong_token_does_not_sign_in(server: Server, people: People) -> None:
    for token in ("", "nonsense", people.share):
        assert ask(server, "POST", "/sign-in", body=f"token={token}".encode()).status == 403


def test_the_printed_link_signs_in_once(server: Server) -> None:
    text = "".join(server.lines)
    assert "/sign-in?code=" in text, "the start prints no sign-in link"
    target = "/sign-in?code=" + text.split("/sign-in?code=")[1].split()[0]
    first = ask(server, "GET", target)
    assert first.status == 303 and "fused_session=" in first.headers["set-cookie"]
    assert ask(server, "GET", target).status == 403


def test_a_revoked_share_token_is_dead_on_the_next_request(server: Server, people: People) -> None:
    content = json.dumps({"udf_id": people.function_id, "client_id": None}).encode()
    token = ask(server, "POST", "/server/v1/udf-access-token/new", server.token, content).json()["token"]
    address = f"/server/v1/realtime-shared/{token}/run/file?n=4"
    assert ask(server, "GET", address).status == 200
    assert ask(server, "DELETE", f"/server/v1/udf-access-token/by-token/{token}", server.token).status == 200
    after = ask(server, "GET", address, headers={"X-Request-Id": "same"})
    unknown = ask(server, "GET", address.replace(token, UNKNOWN), headers={"X-Request-Id": "same"})
    assert after.status == unknown.status == 404
    assert after.body == unknown.body


def shared_with(server: Server, people: People, **more: Any) -> str:
    content = json.dumps({"udf_id": people.function_id, **more}).encode()
    made = ask(server, "POST", "/server/v1/udf-access-token/new", server.token, content)
    assert made.status == 200, made
    return f"/server/v1/realtime-shared/{made.json()['token']}"


@pytest.mark.parametrize(
    ("scope", "admits"),
    [
        ("public", ("", "owner", "member", "stranger")),
        ("world", ("", "owner", "member", "stranger")),
        ("team", ("owner", "member")),
        ("private", ("owner",)),
    ],
)
def test_a_share_token_admits_whom_its_scope_says(
    scope: str, admits: tuple[str, ...], server: Server, people: People, error_schema: dict[str, Any]
) -> None:
    base = shared_with(server, people, access_scope=scope)
    for who in ("", "owner", "member", "stranger"):
        token = getattr(people, who) if who else ""
        for path in ("/run/file?n=4", "/run.json?n=4", "/run/tiles/1/0/0.json", "/tilejson.json", "/map"):
            answer = ask(server, "GET", base + path, token)
            if who in admits:
                assert answer.status == 200, (who, path, answer)
            else:
                assert answer.status == (403 if who else 401), (who, path, answer)
                assert "share token is for" in check_error(answer, error_schema)["message"]


def test_a_scope_that_nobody_knows_is_refused(server: Server, people: People, error_schema: dict[str, Any]) -> None:
    content = json.dumps({"udf_id": people.function_id, "access_scope": "friends"}).encode()
    answer = ask(server, "POST", "/server/v1/udf-access-token/new", server.token, content)
    assert answer.status == 400
    assert "'friends'" in check_error(answer, error_schema)["message"]


def test_what_needs_a_token_is_kept_by_its_caller_alone(server: Server, people: People) -> None:
    name = people.function_slug
    ours = [
        f"/api/v1/run/{name}/tiles/1/0/0.json",
        f"/api/v1/run/owner@localhost/{name}/tiles/1/0/0.json",
        f"/server/v1/realtime/local/api/v1/run/udf/saved/owner@localhost/{name}/tiles/1/0/0?format=json",
        f"/api/v1/run/{name}.json",
        shared_with(server, people, access_scope="team") + "/run/tiles/1/0/0.json",
    ]
    for address in ours:
        answer = ask(server, "GET", address, server.token)
        assert answer.status == 200, answer
        assert answer.headers["cache-control"].startswith("private, "), (address, answer.headers)
        assert "Authorization" in answer.headers["vary"]
    for token in ("", server.token):
        answer = ask(server, "GET", shared_with(server, people) + "/run/tiles/1/0/0.json", token)
        assert answer.headers["cache-control"] == "public, max-age=60"


@pytest.mark.parametrize("leaf", ["nosuch", "nosuch.json", "run/nosuch", "file.v2.json", "run/.json", "fil"])
def test_only_known_names_below_a_share_token_run_the_function(
    leaf: str, server: Server, people: People, error_schema: dict[str, Any]
) -> None:
    answer = ask(server, "GET", f"/server/v1/realtime-shared/{people.share}/{leaf}")
    assert answer.status == 404, answer
    assert "run/file" in check_error(answer, error_schema)["message"]
    assert answer.headers["x-fused-error"] == answer.json()["message"]


LISTS = """
import fused
from fused._transport import request

@fused.udf
def udf(path: str = ""):
    import json
    reply = request("GET", path)
    return json.loads(reply.body)
"""


def test_the_run_of_a_share_token_lists_nothing_of_others(server: Server, people: People) -> None:
    def save(token: str, slug: str, code: str) -> str:
        body = json.dumps({"name": slug, "type": "geopandas_v2", "code": code, "headers": [], "parameters": {}})
        content = json.dumps({"slug": slug, "udf_body": body, "udf_type": "auto"}).encode()
        answer = ask(server, "POST", "/server/v1/udf/new", token, content)
        assert answer.status == 200, answer
        return str(answer.json()["id"])

    save(people.member, "of_the_member", "@fused.udf\ndef udf(): return 'secret of the member'\n")
    lister = save(server.token, "lister", LISTS)
    content = json.dumps({"udf_id": lister}).encode()
    token = ask(server, "POST", "/server/v1/udf-access-token/new", server.token, content).json()["token"]

    def listed(address: str, path: str, sent: str = "") -> list[str]:
        answer = ask(server, "GET", f"{address}?path={path}", sent)
        assert answer.status == 200, answer
        return [row["slug"] for row in answer.json()]

    shared, own = f"/server/v1/realtime-shared/{token}/run/file.json", "/api/v1/run/lister.json"
    assert "of_the_member" in listed(own, "/udf/exec-env/self", server.token)
    assert "of_the_member" not in listed(shared, "/udf/exec-env/self")
    assert "lister" in listed(shared, "/udf/self")
    # Not through another function either.
    nested = LISTS.replace("request(", "fused.run('lister', path=path) if path else request(").replace(
        "    return json.loads(reply.body)", "    return reply"
    )
    through = save(server.token, "lister_through", nested)
    content = json.dumps({"udf_id": through}).encode()
    token = ask(server, "POST", "/server/v1/udf-access-token/new", server.token, content).json()["token"]
    shared = f"/server/v1/realtime-shared/{token}/run/file.json"
    assert "of_the_member" in listed("/api/v1/run/lister_through.json", "/udf/exec-env/self", server.token)
    assert "of_the_member" not in listed(shared, "/udf/exec-env/self")


def test_no_log_line_holds_a_token(server: Server, people: People) -> None:
    ask(server, "GET", f"/server/v1/realtime-shared/{people.share}/run/file?fused_session_token=very-secret-value")
    ask(server, "GET", "/server/v1/user/self", server.token)
    ask(server, "GET", f"/server/v1/udf-access-token/by-token/{people.share}", server.token)
    text = "".join(server.lines)
    for secret in (server.token, people.member, people.stranger, people.share, "very-secret-value"):
        assert secret not in text
