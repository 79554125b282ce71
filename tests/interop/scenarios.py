"""What an open connection must carry, whoever is at its other end and whichever side made it.

A scenario gets both ends.  ``SCENARIOS`` is the table; each entry says what the peer's interface must be able to do.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ours import End, Recorder
from peering import PeerConnection

from wsfactory import CloseCause

__all__ = ["SCENARIOS", "Scenario", "exchange"]

MIB = 2**20
NO_STATUS = 1005
ABNORMAL = 1006
# Every close code that an application may send, of each kind; None: a Close frame without one.
CODES = (1000, 1001, 1008, 1011, 1012, 1013, 1014, 3000, 4999, None)

Run = Callable[[Recorder, PeerConnection], Awaitable[None]]


@dataclass(frozen=True)
class Scenario:
    """One claim about an open connection, the options of ours under which it holds, and what it asks of the peer."""

    run: Run
    asks: frozenset[str] = frozenset()
    options: dict[str, Any] = field(default_factory=dict)


async def exchange(ours: Recorder, peer: PeerConnection, payload: str | bytes) -> None:
    """One message arrives as it was sent, both ways."""
    is_binary = isinstance(payload, bytes)
    ours.sendMessage(payload, is_binary)
    assert await peer.message() == payload

    await peer.send(payload)
    received, received_binary = await ours.messages.get()
    assert received == (payload if isinstance(payload, bytes) else payload.encode())
    assert received_binary is is_binary


async def length_boundaries(ours: Recorder, peer: PeerConnection) -> None:
    """A message arrives whole on both sides of each change in how its length is written."""
    for length in (125, 126, 0xFFFF, 0x10000):
        await exchange(ours, peer, pattern(length))


async def crossing(ours: Recorder, peer: PeerConnection) -> None:
    """Large messages that cross on the wire both arrive."""
    large = pattern(MIB)
    sent = peer.send(large)
    ours.sendMessage(large, isBinary=True)
    await sent

    assert await peer.message() == large
    assert await ours.messages.get() == (large, True)


async def many_in_order(ours: Recorder, peer: PeerConnection) -> None:
    """A burst of messages arrives complete and in order, both ways."""
    burst = [str(number) for number in range(500)]
    for text in burst:
        ours.sendMessage(text)
    received = [await peer.message() for _ in burst]
    for text in burst:
        await peer.send(text)

    assert received == burst
    assert [await ours.messages.get() for _ in burst] == [(text.encode(), False) for text in burst]


async def we_fragment(ours: Recorder, peer: PeerConnection) -> None:
    """A message beyond autoFragmentSize leaves in as many frames as it takes, and is one message to the peer."""
    payload = pattern(10_500)
    ours.sendMessage(payload, isBinary=True)
    event = await peer.expect("message")
    ours.sendMessage("ü" * 2_000)

    assert event["frames"] in (11, None)
    assert await peer.message() == "ü" * 2_000


async def peer_fragments(ours: Recorder, peer: PeerConnection) -> None:
    """A fragmented message with a Ping in it is one message, and the Ping is answered before it is complete."""
    await peer.send_fragments(["Grü", "", "ße"], ping="amid")

    assert await ours.pings.get() == b"amid"
    assert await ours.messages.get() == ("Grüße".encode(), False)


async def peer_pings(ours: Recorder, peer: PeerConnection) -> None:
    """A Ping of the peer's is answered with its own payload, and onPing is told."""
    await peer.ping("are you there")

    assert await ours.pings.get() == b"are you there"
    assert (await peer.expect("pong"))["payload"] == {"text": "are you there"}


async def we_ping(ours: Recorder, peer: PeerConnection) -> None:
    """The peer answers a Ping of ours, and onPong is told."""
    ours.sendPing(b"12345")

    assert await ours.pongs.get() == b"12345"


async def we_pause(ours: Recorder, peer: PeerConnection) -> None:
    """While we receive nothing, Pings are answered and we can send; then everything arrives in order."""
    ours.pauseReceiving()
    await peer.send("one")
    await peer.ping("are you there")
    await peer.expect("pong")
    ours.sendMessage("not now")
    assert await peer.message() == "not now"
    assert not ours.messages.pending

    ours.resumeReceiving()
    await peer.send("two")
    assert [await ours.messages.get() for _ in range(2)] == [(b"one", False), (b"two", False)]


async def we_close(ours: Recorder, peer: PeerConnection, code: int | None) -> None:
    """A close code and reason of ours reach the peer, and the end is clean for both."""
    reason = "" if code is None else "Schluß"
    ours.sendClose(code, reason)
    event = await peer.expect("closed")
    end = await ours.ends.get()

    assert event["code"] in (code or NO_STATUS, None)
    assert event["reason"] in (reason, "")
    assert end.clean
    assert ours.closeInfo is not None
    assert (ours.closeInfo.cause, ours.closeInfo.localCode) == (CloseCause.LOCAL_CLOSE, code or NO_STATUS)


async def peer_closes(ours: Recorder, peer: PeerConnection, code: int | None) -> None:
    """A close code and reason of the peer's reach onClose, and the end is clean for both."""
    reason = "" if code is None else "Schluß"
    await peer.close(code, reason)
    await peer.expect("closed")

    assert await ours.ends.get() == End(True, code or NO_STATUS, reason)
    assert ours.closeInfo is not None
    assert ours.closeInfo.cause is CloseCause.REMOTE_CLOSE


async def backlog_then_close(ours: Recorder, peer: PeerConnection) -> None:
    """What was sent before sendClose arrives whole, however much it is."""
    backlog = pattern(3 * MIB)
    ours.sendMessage(backlog, isBinary=True)
    ours.sendMessage("the last")
    ours.sendClose(1000, "done")

    assert await peer.message() == backlog
    assert await peer.message() == "the last"
    assert (await peer.expect("closed"))["code"] in (1000, None)
    assert (await ours.ends.get()).clean


async def messages_then_close(ours: Recorder, peer: PeerConnection) -> None:
    """What the peer sent before its Close is delivered before onClose."""
    for number in range(50):
        await peer.send(str(number))
    await peer.close(1000)
    end = await ours.ends.get()

    assert end == End(True, 1000, "")
    assert [message for message, _ in ours.messages.pending] == [b"%d" % number for number in range(50)]


async def peer_vanishes(ours: Recorder, peer: PeerConnection) -> None:
    """A peer that leaves without a Close frame is an unclean 1006."""
    await peer.vanish()
    clean, code, _ = await ours.ends.get()

    assert (clean, code) == (False, ABNORMAL)
    assert ours.closeInfo is not None
    assert ours.closeInfo.cause is CloseCause.CONNECTION_LOST


async def we_vanish(ours: Recorder, peer: PeerConnection) -> None:
    """dropConnection ends TCP without a Close frame: an unclean 1006 on both sides."""
    ours.dropConnection(abort=True)

    assert (await peer.expect("closed"))["code"] in (ABNORMAL, None)
    assert (await ours.ends.get())[:2] == (False, ABNORMAL)


def pattern(size: int) -> bytes:
    """Return *size* bytes in which a shifted or lost block shows (the period is prime)."""
    return (bytes(range(251)) * (size // 251 + 1))[:size]


def _carried(payload: str | bytes) -> Scenario:
    return Scenario(partial(exchange, payload=payload))


def _closings() -> dict[str, Scenario]:
    table = {}
    for code in CODES:
        table[f"we-close-{code}"] = Scenario(partial(we_close, code=code), frozenset({f"reading {code}"}))
        table[f"peer-closes-{code}"] = Scenario(partial(peer_closes, code=code), frozenset({f"sending {code}"}))
    return table


SCENARIOS = {
    "text": _carried("Grüße, 世界 \U0001f310"),
    "binary": _carried(bytes(range(256))),
    "empty-text": _carried(""),
    "empty-binary": _carried(b""),
    "1-MiB-text": _carried("0123456789abcdef" * (MIB // 16)),
    "1-MiB-binary": _carried(pattern(MIB)),
    "length-boundaries": Scenario(length_boundaries),
    "crossing": Scenario(crossing),
    "many-in-order": Scenario(many_in_order),
    "we-fragment": Scenario(we_fragment, options={"autoFragmentSize": 1000}),
    "peer-fragments": Scenario(peer_fragments, frozenset({"sending fragments"})),
    "peer-pings": Scenario(peer_pings),
    "we-ping": Scenario(we_ping),
    "we-pause": Scenario(we_pause),
    "backlog-then-close": Scenario(backlog_then_close),
    "messages-then-close": Scenario(messages_then_close),
    "peer-vanishes": Scenario(peer_vanishes),
    "we-vanish": Scenario(we_vanish),
    **_closings(),
}
