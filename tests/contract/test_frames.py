"""The Python half of the frames reads and writes the byte vectors that the C++ half reads and writes."""

from __future__ import annotations

import json
import os
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from fused._worker.connection import Closed, Connection, to_json
from fused._worker.frames import BODY_IN_MEMFD, HEAD, INLINE_BODY_MAX, FrameError, Kind, decode_head, encode_head

VECTORS: dict[str, Any] = json.loads(Path(__file__).with_name("frames.json").read_text())


def pair(nonce: int = 42) -> tuple[Connection, Connection]:
    one, other = socket.socketpair()
    return Connection(one, nonce), Connection(other, nonce)


def test_sizes_are_those_of_the_description() -> None:
    assert HEAD.size == VECTORS["head_bytes"]
    assert VECTORS["inline_body_bytes_max"] == INLINE_BODY_MAX
    assert {kind.name.lower(): kind.value for kind in Kind} == {
        head["kind"]: head["kind_number"] for head in VECTORS["heads"]
    }


@pytest.mark.parametrize("head", VECTORS["heads"], ids=lambda head: head["kind"])
def test_a_head_is_written_and_read_as_described(head: dict[str, Any]) -> None:
    kind, nonce = Kind[head["kind"].upper()], int(head["nonce"])
    numbers = (head["flags"], head["header_length"], head["body_length"])
    assert encode_head(kind, *numbers, nonce).hex() == head["bytes"]
    assert decode_head(bytes.fromhex(head["bytes"]), nonce) == (kind, *numbers)


@pytest.mark.parametrize("head", VECTORS["refused"], ids=lambda head: head["why"])
def test_what_is_no_frame_of_ours_is_refused(head: dict[str, Any]) -> None:
    with pytest.raises(FrameError):
        decode_head(bytes.fromhex(head["bytes"]), int(head["nonce"]))


@pytest.mark.parametrize("frame", VECTORS["frames"], ids=lambda frame: frame["kind"])
def test_a_whole_frame_is_written_and_read_as_described(frame: dict[str, Any]) -> None:
    ours, theirs = pair(int(frame["nonce"]))
    data = bytes.fromhex(frame["bytes"])
    ours.send(Kind[frame["kind"].upper()], frame["header"].encode(), bytes.fromhex(frame["body"]))
    assert theirs.socket.recv(4096) == data
    ours.socket.sendall(data)
    kind, header, body = theirs.read()
    assert (kind.name.lower(), header, bytes(body).hex()) == (frame["kind"], json.loads(frame["header"]), frame["body"])


def test_frames_may_come_in_any_pieces() -> None:
    ours, theirs = pair()
    data = b"".join(bytes.fromhex(frame["bytes"]) for frame in VECTORS["frames"] * 3)
    for at in range(0, len(data), 7):
        ours.socket.sendall(data[at : at + 7])
    assert [theirs.read()[0].name.lower() for _ in range(9)] == [frame["kind"] for frame in VECTORS["frames"] * 3]
    ours.socket.close()
    with pytest.raises(Closed):
        theirs.read()


def test_a_large_body_comes_in_a_memory_file_that_nobody_can_change() -> None:
    ours, theirs = pair()
    body = os.urandom(INLINE_BODY_MAX + 1)
    ours.send(Kind.IDLE, to_json({"n": 1}))
    ours.send(Kind.RESULT, to_json({"n": 2}), memoryview(body))
    inline = body[:INLINE_BODY_MAX]  # more than the socket holds, so that the sender waits for the reader
    sender = threading.Thread(target=ours.send, args=(Kind.IDLE, to_json({"n": 3}), inline))
    sender.start()
    assert theirs.read()[1] == {"n": 1}
    kind, header, received = theirs.read()
    assert (kind, header, bytes(received)) == (Kind.RESULT, {"n": 2}, body)
    with pytest.raises(TypeError):
        received[0] = 1
    assert bytes(theirs.read()[2]) == inline
    sender.join()
    ours.send(Kind.RESULT, b"{}", body)
    data, descriptors, _, _ = socket.recv_fds(theirs.socket, 4096, 1)
    assert data[6] & BODY_IN_MEMFD
    for change in (lambda: os.write(descriptors[0], b"x"), lambda: os.ftruncate(descriptors[0], 1)):
        with pytest.raises(PermissionError):
            change()
    os.close(descriptors[0])


def test_a_promised_memory_file_that_does_not_come_is_refused() -> None:
    ours, theirs = pair()
    ours.socket.sendall(encode_head(Kind.CALL_REPLY, BODY_IN_MEMFD, 2, 1 << 20, 42) + b"{}")
    with pytest.raises(FrameError, match="no descriptor"):
        theirs.read()
