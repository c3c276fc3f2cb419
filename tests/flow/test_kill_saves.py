"""kill -9 of the server under saves, deletes, share tokens and runs, again and again on one data folder.

A ledger outside the server notes what was acknowledged. After each restart all of it must be there, nothing that was
deleted or revoked may be back, every history file must be whole, and the server must have been ready within 2 s.
50 kills in `make test`, 500 in `make test-long`.
"""

from __future__ import annotations

import json
import os
import random
import threading
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from tests.conftest import Server, need_server, start_server
from tests.counts import tell

KILLS = 500 if os.environ.get("FUSED_TEST_LONG") else 50
WRITERS = 3
RUNNERS = 2
RESTART_SECONDS = 2.0
LOG_SECONDS = 10.0  # until the folders of answered runs are made from the journal, on a busy machine
RUN_SECONDS = 60.0  # until the first run of a fresh server, on a busy machine
OWN_FUNCTIONS_MAX = 4


def code_of(text: str) -> str:
    return f"import fused\n\n@fused.udf\ndef udf():\n    return {text!r}\n"


@dataclass
class Function:
    slug: str
    codes: list[str]  # what it may hold: the acknowledged code, and one that was on its way at the kill
    revisions: list[str] = field(default_factory=list)  # acknowledged


@dataclass
class Ledger:
    """What one writer was told, and what it had asked for without an answer when the server died."""

    number: int
    functions: dict[str, Function] = field(default_factory=dict)  # by id
    deleted: set[str] = field(default_factory=set)
    maybe_deleted: set[str] = field(default_factory=set)
    maybe_saved: set[str] = field(default_factory=set)  # slugs
    tokens: dict[str, str] = field(default_factory=dict)  # text → function id
    revoked: set[str] = field(default_factory=set)
    maybe_revoked: set[str] = field(default_factory=set)
    acknowledged: int = 0


class Client:
    def __init__(self, server: Server) -> None:
        self.server = server
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {server.token}"

    def call(self, method: str, path: str, body: object = None) -> Any:
        reply = self.session.request(method, self.server.base_url + path, json=body, timeout=120)
        assert reply.status_code == 200, f"{method} {path}: {reply.status_code} {reply.text[:300]}"
        return reply.json()


def draft(slug: str, code: str) -> dict[str, object]:
    return {"slug": slug, "udf_body": json.dumps({"name": slug, "code": code}), "udf_type": "auto"}


def save_new(client: Client, ledger: Ledger) -> None:
    slug, code = f"w{ledger.number}-{uuid.uuid4().hex[:12]}", code_of(uuid.uuid4().hex)
    ledger.maybe_saved.add(slug)
    record = client.call("POST", "/server/v1/udf/new", draft(slug, code))
    ledger.maybe_saved.discard(slug)
    ledger.functions[record["id"]] = Function(slug, [code], [record["revision"]])


def save_over(client: Client, ledger: Ledger, chance: random.Random) -> None:
    function_id = chance.choice(list(ledger.functions))
    function, code = ledger.functions[function_id], code_of(uuid.uuid4().hex)
    function.codes.append(code)
    record = client.call("POST", f"/server/v1/udf/by-id/{function_id}", draft(function.slug, code))
    function.codes = [code]
    function.revisions.append(record["revision"])


def delete(client: Client, ledger: Ledger) -> None:
    function_id = next(iter(ledger.functions))
    dying = {text for text, owner in ledger.tokens.items() if owner == function_id}
    ledger.maybe_deleted.add(function_id)
    ledger.maybe_revoked |= dying
    client.call("DELETE", f"/server/v1/udf/by-id/{function_id}")
    forget(ledger, function_id)


def forget(ledger: Ledger, function_id: str) -> None:
    dying = {text for text, owner in ledger.tokens.items() if owner == function_id}
    ledger.revoked |= dying
    ledger.deleted.add(function_id)
    ledger.functions.pop(function_id)
    ledger.tokens = {text: owner for text, owner in ledger.tokens.items() if text not in dying}
    ledger.maybe_deleted.discard(function_id)
    ledger.maybe_revoked -= dying


def share(client: Client, ledger: Ledger, chance: random.Random) -> None:
    function_id = chance.choice(list(ledger.functions))
    record = client.call("POST", "/server/v1/udf-access-token/new", {"udf_id": function_id})
    ledger.tokens[record["token"]] = function_id


def revoke(client: Client, ledger: Ledger) -> None:
    text = next(iter(ledger.tokens))
    ledger.maybe_revoked.add(text)
    client.call("DELETE", f"/server/v1/udf-access-token/by-token/{text}")
    ledger.tokens.pop(text)
    ledger.revoked.add(text)
    ledger.maybe_revoked.discard(text)


def keep_writing(server: Server, ledger: Ledger, stop: threading.Event, troubles: list[str]) -> None:
    client, chance = Client(server), random.Random()
    while not stop.is_set():
        try:
            act = chance.random()
            if len(ledger.functions) < 2 or act < 0.25:
                if len(ledger.functions) >= OWN_FUNCTIONS_MAX:
                    delete(client, ledger)
                else:
                    save_new(client, ledger)
            elif act < 0.6:
                save_over(client, ledger, chance)
            elif act < 0.8 or not ledger.tokens:
                share(client, ledger, chance)
            else:
                revoke(client, ledger)
            ledger.acknowledged += 1
        except requests.RequestException:
            return  # the kill
        except AssertionError as error:
            troubles.append(str(error))
            return


def keep_running(server: Server, answered: list[str], stop: threading.Event, troubles: list[str]) -> None:
    client = Client(server)
    body = {
        "step_config": json.dumps({"type": "udf", "udf": {"name": "probe", "code": code_of("probe")}}),
        "format": "json",
    }
    while not stop.is_set():
        run_id = str(uuid.uuid4())
        try:
            reply = client.session.post(
                f"{server.api}/realtime/local/api/v1/run/udf", json=body, headers={"Fused-Run-Id": run_id}, timeout=120
            )
        except requests.RequestException:
            return
        if reply.status_code == 200:
            answered.append(run_id)
        else:
            troubles.append(f"a run was answered {reply.status_code}: {reply.text[:300]}")
            return


def all_functions(client: Client) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    while page := client.call("GET", f"/server/v1/udf/self?skip={len(found)}&limit=300"):
        found |= {record["id"]: record for record in page}
    return found


def check_ledger(client: Client, ledger: Ledger, found: dict[str, dict[str, Any]], data: Path) -> None:
    for function_id in list(ledger.maybe_deleted):
        if function_id not in found:
            forget(ledger, function_id)
    ledger.maybe_deleted.clear()
    for function_id, function in ledger.functions.items():
        assert function_id in found, f"the acknowledged function {function.slug} is lost"
        code = json.loads(found[function_id]["udf_body"])["code"]
        assert code in function.codes, f"{function.slug} holds what nobody saved: {code!r}"
        function.codes = [code]
        for revision in function.revisions:
            snapshot = history_file(data, function_id, revision)
            assert json.loads(snapshot.read_text())["udf_id"] == function_id
    assert not ledger.deleted & found.keys(), "a deleted function is back"
    for record in found.values():
        if record["slug"] in ledger.maybe_saved:  # on its way at the kill, and it arrived whole
            code = json.loads(record["udf_body"])["code"]
            ledger.functions[record["id"]] = Function(record["slug"], [code], [record["revision"]])
    ledger.maybe_saved.clear()
    check_tokens(client, ledger)


def check_tokens(client: Client, ledger: Ledger) -> None:
    for text in list(ledger.tokens):
        url = f"{client.server.base_url}/server/v1/udf/shared/by-token/{text}"
        status = client.session.get(url, timeout=120).status_code
        if text in ledger.maybe_revoked and status == 404:
            ledger.tokens.pop(text)
            ledger.revoked.add(text)
            continue
        assert status == 200, f"the acknowledged share token of {ledger.tokens[text]} is lost"
    ledger.maybe_revoked.clear()
    for text in random.sample(sorted(ledger.revoked), min(20, len(ledger.revoked))):
        url = f"{client.server.base_url}/server/v1/udf/shared/by-token/{text}"
        assert client.session.get(url, timeout=120).status_code == 404, "a revoked share token lives again"


def history_file(data: Path, function_id: str, revision: str) -> Path:
    folder = data / "s3/fused-users/default/fused-system/history" / function_id
    files = list(folder.glob(f"*/{revision}/*.json"))
    assert len(files) == 1, f"revision {revision} has {len(files)} history files"
    return files[0]


def check_no_half_files(data: Path) -> int:
    """Every file of the history is whole JSON, whether acknowledged or not."""
    checked = 0
    for folder, _, names in os.walk(data / "s3/fused-users/default/fused-system/history"):
        for name in names:
            assert name.endswith(".json"), f"half a file: {folder}/{name}"
            assert "code" in json.loads((Path(folder) / name).read_text())
            checked += 1
    assert not [name for name in os.listdir(data) if name.startswith(".writing-")]
    return checked


def wait_for_run(answered: list[str], troubles: list[str]) -> None:
    deadline = time.monotonic() + RUN_SECONDS
    while not answered and not troubles:
        assert time.monotonic() < deadline, f"no run was answered in {RUN_SECONDS} s"
        time.sleep(0.01)


def check_runs(data: Path, answered: list[str]) -> None:
    deadline = time.monotonic() + LOG_SECONDS
    missing = set(answered)
    while missing:
        there = {path.parent.name for path in data.glob("mount/fused-system/logs/*/*/*/*/metadata.json")}
        missing -= there
        assert not missing or time.monotonic() < deadline, f"{len(missing)} answered runs have no log folder"
        if missing:
            time.sleep(0.05)


def test_what_was_acknowledged_survives_every_kill(tmp_path: Path) -> None:
    need_server()
    data, chance = tmp_path / "data", random.Random()
    ledgers = [Ledger(number) for number in range(WRITERS)]
    restarts: list[float] = []
    runs = files = 0
    for kill in range(KILLS + 1):
        begin = time.monotonic()
        server = start_server(data)
        restarts.append(time.monotonic() - begin)
        try:
            client = Client(server)
            found = all_functions(client)
            for ledger in ledgers:
                check_ledger(client, ledger, found, data)
            if kill % 10 == 0 or kill == KILLS:
                files = check_no_half_files(data)
            if kill == KILLS:
                break
            stop, troubles, answered = threading.Event(), [], []
            threads = [
                threading.Thread(target=keep_writing, args=(server, ledger, stop, troubles)) for ledger in ledgers
            ]
            threads += [
                threading.Thread(target=keep_running, args=(server, answered, stop, troubles)) for _ in range(RUNNERS)
            ]
            for thread in threads:
                thread.start()
            # Most kills come early; every fifth finds workers that answer.
            if kill % 5 == 4:
                wait_for_run(answered, troubles)
            time.sleep(chance.uniform(0.01, 0.4))
        finally:
            server.process.kill()
            server.process.wait()
        stop.set()
        for thread in threads:
            thread.join()
        assert not troubles, troubles
        runs += len(answered)
        if answered:
            revived = start_server(data)
            check_runs(data, answered)
            revived.process.kill()
            revived.process.wait()
    restarts.sort()
    tell(
        f"{KILLS} kills: {sum(ledger.acknowledged for ledger in ledgers)} acknowledged changes and {runs} answered "
        f"runs, 0 lost; {files} history files whole; ready after a kill: median {restarts[len(restarts) // 2]:.2f} s, "
        f"slowest {restarts[-1]:.2f} s"
    )
    assert runs > 0, "no run was answered before a kill: the test has not tested them"
    assert restarts[int(len(restarts) * 0.99) - 1] <= RESTART_SECONDS, restarts[-5:]
