"""Attempts to connect without sockets: what ends one, what is left when it was cancelled, and where redirects lead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from wsfactory._memory import Link
from wsfactory.dialing import open_session
from wsfactory.errors import ConnectError, HandshakeError, InvalidState
from wsfactory.http11 import encode_response
from wsfactory.opening import Connecting
from wsfactory.testing import Cancelled, ClientFactory, Future, Futures, Peer, RecordingClient, upgrade_response

URL = "ws://localhost/"


class Attempts:
    """An ``open_session`` under way, every connection of which is played by the test.

    ``dialled`` has where it wants to connect; ``connect`` lets the last one succeed.
    """

    def __init__(self, protocol: type[RecordingClient] = RecordingClient, redirects: int = 5, **options: Any) -> None:
        self.factory: Any = ClientFactory(URL, protocol, **options)
        self.dialled: list[Connecting] = []
        self.futures: list[Future] = []
        self.sessions: list[Any] = []
        self.links: list[Link] = []
        self.clock = self.factory.reactor
        opening = open_session(self.factory, self.factory.details, self._dial, redirects)
        self.task: Any = Futures().from_result(opening)

    async def _dial(self, details: Connecting, session: Any) -> None:
        self.dialled.append(details)
        self.sessions.append(session)
        self.futures.append(Future())
        await self.futures[-1]

    def connect(self) -> Peer:
        """Let TCP be connected; returns the server's end, which has the request."""
        peer = Peer(is_client=False)
        session = self.sessions[-1]
        link = Link(self.clock, session, peer)
        self.links.append(link)
        wire, peer.wire = link._wires
        session._ws_connected(wire)
        self.futures[-1].resolve()
        link.run()
        return peer

    def answer(self, peer: Peer) -> None:
        """Let the server accept."""
        request: Any = peer.head()
        peer.send(upgrade_response(request))
        self.run()

    def run(self) -> None:
        for link in self.links:
            link.run()
        self.clock.advance(0)

    def nothing_is_left(self) -> bool:
        """No connection, no attempt to make one, no deadline."""
        dialling = [future for future in self.futures if not future.done]
        wires = [wire for link in self.links for wire in link._wires if wire.lost is None]
        sessions = {*self.factory.openings, *self.factory.connections, *self.factory._leaving}
        return not (dialling or wires or sessions or len(self.factory.flavour.wheel))


def refusal(status: int, **headers: str) -> bytes:
    return encode_response(status, "no", {name.replace("_", "-"): value for name, value in headers.items()})


def test_it_gives_the_session_once_it_is_open() -> None:
    attempts = Attempts()
    peer = attempts.connect()
    assert not attempts.task.done
    attempts.answer(peer)

    assert attempts.task.result() is attempts.sessions[0]
    assert attempts.task.result().names == ["onConnecting", "onConnect", "onOpen"]


def test_a_dial_that_fails_is_a_connect_error_that_names_the_url_and_the_fault() -> None:
    attempts = Attempts()
    attempts.futures[0].reject(OSError("nobody listens"))
    attempts.run()

    with pytest.raises(ConnectError, match=r"cannot connect to ws://localhost/?: nobody listens") as raised:
        attempts.task.result()
    assert isinstance(raised.value.__cause__, OSError)
    assert attempts.nothing_is_left()


def test_a_refusal_is_a_handshake_error_with_its_status() -> None:
    attempts = Attempts()
    peer = attempts.connect()
    peer.send(refusal(401, Content_Length="0"))
    attempts.run()

    with pytest.raises(HandshakeError) as raised:
        attempts.task.result()
    assert raised.value.status == 401
    assert attempts.nothing_is_left()


def test_a_redirect_is_a_new_session() -> None:
    attempts = Attempts()
    peer = attempts.connect()
    peer.send(refusal(302, Location="/elsewhere", Content_Length="0"))
    attempts.run()
    attempts.answer(attempts.connect())

    assert [details.url.resource for details in attempts.dialled] == ["/", "/elsewhere"]
    assert attempts.task.result() is attempts.sessions[1] is not attempts.sessions[0]
    assert attempts.sessions[0].names[-1] == "onClose"


def test_after_the_last_redirect_the_next_is_a_refusal() -> None:
    attempts = Attempts(redirects=1)
    for _ in range(2):
        attempts.connect().send(refusal(302, Location="/again", Content_Length="0"))
        attempts.run()

    with pytest.raises(HandshakeError) as raised:
        attempts.task.result()
    assert raised.value.status == 302
    assert len(attempts.dialled) == 2
    assert attempts.nothing_is_left()


def test_the_deadline_ends_the_dialling_too() -> None:
    attempts = Attempts(openHandshakeTimeout=3)
    attempts.clock.advance(4)
    attempts.run()

    with pytest.raises(HandshakeError):
        attempts.task.result()
    assert attempts.nothing_is_left()


class Pondering(RecordingClient):
    """Is asked something, and takes its time."""

    def __init__(self) -> None:
        super().__init__()
        self.answer = Future()


class PonderingWhereto(Pondering):
    def onConnecting(self, details: Connecting) -> Future:
        self.calls.append(("onConnecting",))
        PonderingWhereto.asked = self.answer
        return self.answer

    asked: Future


class PonderingTheAnswer(Pondering):
    def onConnect(self, response: object) -> Future:
        self.calls.append(("onConnect",))
        return self.answer


def asked_where_to() -> Attempts:
    return Attempts(PonderingWhereto)


def dialling() -> Attempts:
    return Attempts()


def shaking_hands() -> Attempts:
    attempts = Attempts()
    attempts.connect()
    return attempts


def asked_on_connect() -> Attempts:
    attempts = Attempts(PonderingTheAnswer)
    attempts.answer(attempts.connect())
    return attempts


def redirected() -> Attempts:
    attempts = Attempts()
    attempts.connect().send(refusal(302, Location="/elsewhere", Content_Length="0"))
    attempts.run()
    return attempts


@pytest.mark.parametrize("stage", [asked_where_to, dialling, shaking_hands, asked_on_connect, redirected])
def test_cancelling_leaves_nothing_at_any_stage(stage: Callable[[], Attempts]) -> None:
    attempts = stage()
    assert not attempts.task.done
    assert not attempts.nothing_is_left()
    attempts.task.cancel()
    attempts.run()

    with pytest.raises(Cancelled):
        attempts.task.result()
    assert attempts.nothing_is_left()


def test_cancelling_cancels_what_the_application_was_asked() -> None:
    attempts = asked_where_to()
    attempts.task.cancel()
    attempts.run()

    with pytest.raises(Cancelled):
        PonderingWhereto.asked.result()


def test_a_connection_that_comes_after_the_cancelling_is_aborted() -> None:
    attempts = dialling()
    attempts.task.cancel()
    attempts.run()
    attempts.connect()

    assert attempts.nothing_is_left()


def test_nothing_is_dialled_for_a_factory_that_was_shut_down() -> None:
    """Neither at once nor where a redirect leads: the new connection could only be closed."""

    class ShuttingDown(RecordingClient):
        def onClose(self, *_: object) -> None:
            self.factory.shutdown()

    attempts = Attempts(ShuttingDown)
    attempts.connect().send(refusal(302, Location="/elsewhere", Content_Length="0"))
    attempts.run()
    again: Any = Futures().from_result(open_session(attempts.factory, attempts.factory.details, attempts._dial, 5))

    for task in (attempts.task, again):
        with pytest.raises(InvalidState, match="was shut down"):
            task.result()
    assert len(attempts.dialled) == 1
    assert attempts.nothing_is_left()
