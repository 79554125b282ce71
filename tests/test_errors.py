"""The exceptions: one family that closes connections, one that is raised to users."""

from __future__ import annotations

import pickle

import pytest

from wsfactory import errors
from wsfactory.errors import (
    ConnectError,
    ConnectionClosed,
    ConnectionDeny,
    HandshakeError,
    HandshakeTimeout,
    InvalidPayload,
    InvalidState,
    InvalidURL,
    MalformedHead,
    MessageTooBig,
    OptionError,
    ProtocolError,
    Refused,
    WebSocketError,
)
from wsfactory.events import CloseCause, CloseInfo
from wsfactory.headers import Headers


def test_every_exception_of_the_package_has_one_base() -> None:
    classes = [getattr(errors, name) for name in errors.__all__]

    assert all(issubclass(cls, WebSocketError) for cls in classes)


@pytest.mark.parametrize(("error", "code"), [(ProtocolError, 1002), (InvalidPayload, 1007), (MessageTooBig, 1009)])
def test_what_a_peer_does_wrong_knows_its_close_code(error: type[ProtocolError], code: int) -> None:
    """RFC 6455 section 7.4.1 gives the codes; one ``except ProtocolError`` catches all of them."""
    assert issubclass(error, ProtocolError)
    assert error("why").code == code


@pytest.mark.parametrize("error", [InvalidURL, OptionError])
def test_a_bad_argument_is_a_value_error_too(error: type[Exception]) -> None:
    assert issubclass(error, ValueError)


@pytest.mark.parametrize("error", [ConnectError, InvalidState, ConnectionClosed, HandshakeError])
def test_what_only_time_tells_is_no_value_error(error: type[Exception]) -> None:
    assert not issubclass(error, ValueError)


def test_a_refusal_takes_headers_as_a_mapping_or_as_pairs() -> None:
    mapping = Refused(503, "Later", {"Retry-After": "5"})
    pairs = Refused(503, "Later", [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")])

    assert mapping.headers == [("Retry-After", "5")]
    assert pairs.headers == [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]


def test_a_refusals_body_may_be_text() -> None:
    assert Refused(403, body="né").body == "né".encode()


def test_a_refusal_says_in_our_log_what_it_does_not_tell_the_peer() -> None:
    silent, loud = Refused(403, "Forbidden"), Refused(500, "Oops", body="sorry", log="the database is away")

    assert str(silent) == "403 Forbidden"
    assert str(loud) == "the database is away"
    assert b"database" not in loud.body


def test_a_refusal_without_a_phrase_says_its_status() -> None:
    assert str(ConnectionDeny(401)) == "401"


def test_the_applications_refusal_and_a_bad_head_are_refusals() -> None:
    assert issubclass(ConnectionDeny, Refused)
    assert issubclass(MalformedHead, Refused)


def test_a_failed_handshake_carries_what_the_server_answered() -> None:
    error = HandshakeError("refused", 401, "Unauthorized", [("WWW-Authenticate", "Basic")], b"who?")

    assert (error.status, error.reason, error.body) == (401, "Unauthorized", b"who?")
    assert error.headers.get("www-authenticate") == "Basic"


def test_a_handshake_without_an_http_answer_has_status_0() -> None:
    error = HandshakeTimeout("not open within 10 s")

    assert isinstance(error, HandshakeError)
    assert (error.status, error.reason, error.headers, error.body) == (0, "", Headers(), b"")


def test_sending_too_late_says_how_the_connection_ended() -> None:
    info = CloseInfo(True, 1000, "", CloseCause.REMOTE_CLOSE)

    assert ConnectionClosed("too late", info).closeInfo is info
    assert ConnectionClosed().closeInfo is None


@pytest.mark.parametrize("error", [ProtocolError("no"), MessageTooBig("no"), OptionError("no"), ConnectError("no")])
def test_plain_errors_travel_between_processes(error: WebSocketError) -> None:
    copy = pickle.loads(pickle.dumps(error))

    assert (type(copy), str(copy)) == (type(error), str(error))
