"""What is told of a connection's end: values, and names that users may compare with."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

import wsfactory
from wsfactory.connection import Connection
from wsfactory.conversation import Conversation
from wsfactory.events import CloseCause, CloseInfo, Owner
from wsfactory.options import Options


def test_how_it_ended_cannot_be_changed() -> None:
    info = CloseInfo(False, 1006, "gone", CloseCause.CONNECTION_LOST)

    with pytest.raises(FrozenInstanceError):
        info.code = 1000  # type: ignore[misc]
    assert hash(info) == hash(CloseInfo(False, 1006, "gone", CloseCause.CONNECTION_LOST))


def test_without_close_frames_there_is_nothing_in_them() -> None:
    info = CloseInfo(False, 1006, "gone", CloseCause.CONNECTION_LOST)

    assert (info.begunBy, info.localCode, info.localReason) == (None, None, "")
    assert (info.remoteCode, info.remoteReason) == (None, "")


def test_each_cause_says_what_it_is() -> None:
    """Two causes with one text would be one cause."""
    assert len({cause.value for cause in CloseCause}) == len(CloseCause)
    assert all(cause.value.islower() or "TCP" in cause.value or "Close" in cause.value for cause in CloseCause)


def test_users_find_both_in_the_package() -> None:
    assert (wsfactory.CloseInfo, wsfactory.CloseCause) == (CloseInfo, CloseCause)


def test_an_owner_has_all_that_a_connection_calls() -> None:
    """Nothing else: each is called by Connection, and Conversation implements it."""
    names = {name for name in vars(Owner) if not name.startswith("_")}
    used = {
        name for method in vars(Connection).values() if hasattr(method, "__code__") for name in method.__code__.co_names
    }

    assert names <= used
    assert names <= set(dir(Conversation))


def test_an_owner_is_told_where_messages_go_when_the_connection_is_made() -> None:
    """The codec then calls it without a detour."""

    class Asked:
        asked = 0

        @property
        def message(self) -> object:
            self.asked += 1
            return lambda payload, is_binary: None

    owner = Asked()
    connection = Connection(True, Options(), owner)  # type: ignore[arg-type]
    connection.receive(b"\x81\x01x" * 3)

    assert owner.asked == 1
    assert connection.decoder.messages == 3
