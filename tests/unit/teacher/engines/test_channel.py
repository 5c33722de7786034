from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tutelage.teacher.engines import channel as channel_module
from tutelage.teacher.engines.channel import Channel, ChannelClosed


@pytest.fixture
def ends() -> Iterator[tuple[Channel, socket.socket]]:
    ours, theirs = socket.socketpair()
    channel = Channel(ours)
    with theirs:
        yield channel, theirs
    channel.close()


def test_messages_come_whole_and_in_order_whatever_the_pieces(ends):
    channel, other = ends
    other.sendall(b'{"op": "a", "text": "\\ud83d"}\n{"op"')
    assert channel.receive(5) == {"op": "a", "text": "\ud83d"}
    assert channel.receive(0) is None
    other.sendall(b': "b"}\n')
    assert channel.receive(5) == {"op": "b"}


@pytest.mark.parametrize(
    "line",
    [b"", b"text", b"[]", b"{}", b'{"op": 5}', b"\xff", b"[" * 100_000],
    ids=lambda line: line[:9],
)
def test_what_is_no_message_ends_the_conversation(ends, line):
    channel, other = ends
    other.sendall(line + b"\n")
    with pytest.raises(ChannelClosed, match="is no message"):
        channel.receive(5)


def test_a_message_without_an_end_is_not_read_for_ever(ends, monkeypatch):
    monkeypatch.setattr(channel_module, "_LONGEST", 1000)
    channel, other = ends
    other.sendall(b"x" * 2000)
    with pytest.raises(ChannelClosed, match="more than 1,000 bytes"):
        channel.receive(5)
