"""One connection from its first to its last call, and what a protocol can rely on in between.

More of it in test_session_callbacks, test_session_receiving, test_session_sending and test_session_close.
"""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest

from wsfactory.errors import ConnectionClosed
from wsfactory.http11 import HeadReader
from wsfactory.opening_server import ServerOpening
from wsfactory.session import ClientSession, ServerSession, Session
from wsfactory.testing import (
    ClientFactory,
    ClientProtocol,
    Clock,
    RecordingClient,
    RecordingServer,
    ServerFactory,
    ServerProtocol,
    alone,
    binary,
    close,
    linked_pair,
    ping,
    pong,
    text,
)


def test_the_order_of_the_callbacks() -> None:
    clock = Clock()
    pair = linked_pair(
        ServerFactory(RecordingServer, reactor=clock, subprotocols=["chat"]),
        ClientFactory("ws://localhost/", RecordingClient, reactor=clock, subprotocols=["chat"]),
    )
    pair.client.sendMessage("hello")
    pair.run()
    pair.server.sendMessage("welcome")
    pair.server.sendClose(1000)
    pair.run()

    assert pair.server.names == ["onConnect", "onOpen", "onMessage", "onClose"]
    assert pair.client.names == ["onConnecting", "onConnect", "onOpen", "onMessage", "onClose"]
    assert pair.server.subprotocol == pair.client.subprotocol == "chat"


@pytest.mark.parametrize("protocol", [ServerProtocol, ClientProtocol])
def test_no_callback_needs_to_be_implemented(protocol: type[Any]) -> None:
    one = alone(protocol)
    one.exchange(text("a"), close(1000))
    one.peer.wire.finish()
    one.run()

    assert one.session.closeInfo.wasClean


def test_a_protocol_tells_where_it_stands() -> None:
    one = alone(RecordingServer, opened=False)
    seen = [(one.session.isOpen, one.session.closeInfo)]
    one.open()
    seen.append((one.session.isOpen, one.session.closeInfo))
    one.session.sendClose()
    seen.append((one.session.isOpen, one.session.closeInfo))
    one.lose()

    assert seen == [(False, None), (True, None), (False, None)]
    assert not one.session.isOpen
    assert one.session.closeInfo is not None


def test_closeinfo_is_there_in_onclose() -> None:
    class Looking(RecordingServer):
        def onClose(self, wasClean: bool, code: int, reason: str) -> None:
            self.calls.append(("onClose", self.closeInfo))

    one = alone(Looking)
    one.lose()

    assert one.session.calls[-1] == ("onClose", one.session.closeInfo)


def test_calls_after_the_end_do_no_harm() -> None:
    one = alone(RecordingServer)
    one.lose()
    names = [*one.session.names]
    for call in ("pauseReceiving", "resumeReceiving", "dropConnection", "sendClose", "flush"):
        getattr(one.session, call)()
    one.advance(1)

    assert one.session.names == names
    assert one.session.bufferedAmount == 0
    with pytest.raises(ConnectionClosed) as closed:
        one.session.sendMessage("x")
    assert closed.value.closeInfo is one.session.closeInfo


def test_what_the_handshake_needed_is_let_go_once_it_is_open() -> None:
    def handshaking() -> int:
        gc.collect()
        return sum(isinstance(thing, ServerOpening | HeadReader) for thing in gc.get_objects())

    before = handshaking()
    one = alone(ServerProtocol)

    assert one.session.isOpen
    assert handshaking() == before


def test_an_ended_connection_is_let_go() -> None:
    class Own(ServerProtocol):
        pass

    factory = ServerFactory(Own)
    one = alone(factory)
    one.exchange(text("x"))
    one.lose()
    session = weakref.ref(one.session)
    del one
    gc.collect()

    assert session() is None


def test_nothing_is_logged_of_what_goes_well() -> None:
    """Neither per message nor per connection: that is the application's to do."""
    factory = ServerFactory(RecordingServer)
    one = alone(factory)
    one.exchange(text("a"), binary(b"b"), ping(b"c"), pong(b"d"))
    one.session.sendMessage("e")
    one.exchange(close(1000))
    one.lose()

    assert factory.log.lines == []


def test_a_protocol_without_state_of_its_own_has_no_dict() -> None:
    """An idle connection costs little memory."""

    class Lean(ServerSession):
        __slots__ = ()

    assert not hasattr(Lean(), "__dict__")


def test_every_callback_is_documented() -> None:
    callbacks = [
        getattr(cls, name) for cls in (Session, ServerSession, ClientSession) for name in vars(cls) if name[:2] == "on"
    ]

    assert len(callbacks) >= 10
    assert all(callback.__doc__ for callback in callbacks)


@pytest.mark.parametrize("protocol", [ServerProtocol, ClientProtocol])
def test_names_that_users_like_are_theirs(protocol: type[Any]) -> None:
    """Also those of Twisted's own Protocol, and whatever is private where they write it."""
    names = """connected peer _open _opened _opening _options _paused _ended _gone _next _take _wake _wire _conversation
        _flavour _buffer _call _data data_received writable eof_reached"""

    class Careless(protocol):
        def __init__(self) -> None:
            for name in names.split():
                setattr(self, name, None)

        def onOpen(self) -> None:
            self.__init__()  # type: ignore[misc]

    one = alone(Careless)
    one.exchange(text("a"), close(1000))
    one.peer.wire.finish()
    one.run()

    assert one.session.closeInfo.wasClean


def test_connected_says_whether_there_is_a_tcp_connection() -> None:
    one = alone(ServerFactory(RecordingServer), opened=False)
    before = ServerFactory(RecordingServer).buildProtocol().connected
    during = one.session.connected
    one.lose()

    assert (before, during, one.session.connected) == (False, True, False)
