"""Every option: that it is there, its default, what it takes, and how it refuses the rest."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError, fields

import pytest

from wsfactory.errors import OptionError
from wsfactory.options import Options, changed, check_protocol, option_names, refuse_beside_factory

KIB = 1024
MIB = 1024 * KIB

DEFAULTS = {
    "maxQueue": (32, 8),
    "maxQueueBytes": (4 * MIB, MIB),
    "maxMessagePayloadSize": MIB,
    "maxFramePayloadSize": 0,
    "maxFragments": 4096,
    "autoFragmentSize": 0,
    "readLimit": 64 * KIB,
    "writeLimit": (64 * KIB, 16 * KIB),
    "openHandshakeTimeout": 10.0,
    "closeHandshakeTimeout": 10.0,
    "failByDrop": False,
    "tcpNoDelay": True,
    "allowedOrigins": "same-origin",
}
# Declared, off, and not available yet: what each is now, and a value that it will take one day.
OFF = {
    "autoPingInterval": (None, 20.0),
    "autoPingTimeout": (None, 20.0),
    "autoPingSize": (12, 4),
    "autoPingRestartOnAnyTraffic": (True, False),
    "keepaliveMessage": (None, ("beat", 5.0)),
    "autoReply": (None, {"ping": "pong"}),
    "handlerConcurrency": (1, 2),
    "maxSendBuffer": (0, 16 * MIB),
    "slowConsumer": ("close", "drop-oldest"),
    "compression": (None, True),
    "logFrames": (False, True),
    "maxConnections": (0, 10),
    "maxConnectionsPerIP": (0, 10),
    "trustedProxies": ((), ("10.0.0.0/8",)),
    "healthPath": (None, "/health"),
}
SECONDS = ["openHandshakeTimeout", "closeHandshakeTimeout"]
LIMITS = ["maxMessagePayloadSize", "maxFramePayloadSize", "maxFragments", "autoFragmentSize"]
MARKS = ["maxQueue", "maxQueueBytes", "writeLimit"]
TRUTHS = ["failByDrop", "tcpNoDelay"]


def value_of(name: str, value: object) -> object:
    """What an option is once it was set to *value*."""
    return getattr(changed(Options(), {name: value}), name)


def refusal(name: str, value: object) -> str:
    with pytest.raises(OptionError) as caught:
        changed(Options(), {name: value})
    return str(caught.value)


# The table.


def test_the_whole_table_is_there_with_its_defaults() -> None:
    expected = DEFAULTS | {name: now for name, (now, _) in OFF.items()}

    assert {name: getattr(Options(), name) for name in option_names()} == expected
    assert list(option_names()) == [option.name for option in fields(Options)]


@pytest.mark.parametrize("name", DEFAULTS)
def test_every_default_is_a_value_that_the_option_takes(name: str) -> None:
    assert value_of(name, DEFAULTS[name]) == DEFAULTS[name]


@pytest.mark.parametrize("name", OFF)
def test_what_is_not_built_yet_is_off_and_refuses_any_other_value(name: str) -> None:
    now, later = OFF[name]

    assert value_of(name, now) == now
    assert refusal(name, later) == (
        f"option {name}={later!r} is not allowed: {name} takes only {now!r}: this option is not available yet"
    )


@pytest.mark.parametrize(
    "name", ["autoPingInterval", "autoPingTimeout", "maxSendBuffer", "maxConnections", "maxConnectionsPerIP"]
)
def test_a_limit_that_is_not_built_yet_may_be_switched_off_with_0_or_none(name: str) -> None:
    now, _ = OFF[name]

    assert value_of(name, 0) == value_of(name, None) == now


def test_options_do_not_change_under_those_who_share_them() -> None:
    with pytest.raises(FrozenInstanceError):
        Options().maxFragments = 1  # type: ignore[misc]


# Changing.


def test_nothing_changes_that_was_not_passed() -> None:
    once = changed(Options(), {"maxFragments": 7, "failByDrop": True})
    twice = changed(once, {"failByDrop": False})

    assert (once.maxFragments, once.failByDrop) == (7, True)
    assert (twice.maxFragments, twice.failByDrop) == (7, False)
    assert changed(twice, {}) == twice


def test_an_unknown_name_is_an_error_that_names_it_and_what_is_allowed() -> None:
    with pytest.raises(OptionError) as caught:
        changed(Options(), {"maxMessageSize": 5})

    assert str(caught.value) == f"unknown option 'maxMessageSize'; allowed are {', '.join(option_names())}"


def test_a_bad_value_among_good_ones_changes_nothing() -> None:
    options = Options()
    with pytest.raises(OptionError, match="option maxFragments=-1 is not allowed"):
        changed(options, {"failByDrop": True, "maxFragments": -1})

    assert options == Options()


# Kinds of options.


@pytest.mark.parametrize("name", SECONDS)
@pytest.mark.parametrize(("given", "kept"), [(3, 3.0), (0.05, 0.05), (0, None), (None, None), (1e9, 1e9)])
def test_seconds_may_be_fractions_and_0_or_none_mean_none(name: str, given: object, kept: object) -> None:
    assert value_of(name, given) == kept


@pytest.mark.parametrize("name", SECONDS)
@pytest.mark.parametrize("value", [-1, "5", True, math.nan, math.inf, [5], pytest.param(10**400, id="huge")])
def test_what_is_no_time_is_refused(name: str, value: object) -> None:
    assert refusal(name, value) == (
        f"option {name}={value!r} is not allowed: {name} takes a number of seconds, 0 or more, or None"
    )


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize(("given", "kept"), [(1, 1), (2**63, 2**63), (0, 0), (None, 0)])
def test_for_every_limit_0_and_none_mean_none(name: str, given: object, kept: object) -> None:
    assert value_of(name, given) == kept


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize("value", [-1, 1.5, "5", True, math.inf])
def test_what_is_no_limit_is_refused(name: str, value: object) -> None:
    assert f"option {name}={value!r} is not allowed: {name} takes a whole number, 0 or more" in refusal(name, value)


@pytest.mark.parametrize("name", MARKS)
def test_a_bounds_low_mark_is_a_quarter_unless_it_is_given(name: str) -> None:
    assert value_of(name, 100) == (100, 25)
    assert value_of(name, (100, 99)) == (100, 99)
    assert value_of(name, (100, 0)) == (100, 0)
    assert value_of(name, 1) == (1, 0)
    assert value_of(name, 0) == value_of(name, None) == (0, 0)


@pytest.mark.parametrize("name", MARKS)
@pytest.mark.parametrize("value", [(5, 5), (5, 6), (5, -1), (5,), (5, 4, 3), (5.0, 4), (True, False), -5, "5"])
def test_marks_that_could_never_be_reached_are_refused(name: str, value: object) -> None:
    text = refusal(name, value)

    assert text.startswith(f"option {name}={value!r} is not allowed: {name} takes ")
    assert "(high, low)" in text


@pytest.mark.parametrize("name", TRUTHS)
@pytest.mark.parametrize("value", [0, 1, None, "yes"])
def test_a_switch_takes_true_or_false(name: str, value: object) -> None:
    assert value_of(name, True) is True
    assert value_of(name, False) is False
    assert refusal(name, value) == f"option {name}={value!r} is not allowed: {name} takes True or False"


@pytest.mark.parametrize("value", [0, None, 1023, 64 * MIB + 1, 2**40])
def test_a_read_takes_what_memory_has_room_for(value: object) -> None:
    assert value_of("readLimit", 1024) == 1024
    assert value_of("readLimit", 64 * MIB) == 64 * MIB
    assert refusal("readLimit", value).endswith("readLimit takes a whole number from 1024 to 67108864")


# What goes to a factory with the options.


class Base:
    """What a factory makes."""


@pytest.mark.parametrize("protocol", [None, Base, type("Chat", (Base,), {}), lambda: Base()])
def test_a_protocol_is_a_subclass_or_a_callable(protocol: object) -> None:
    check_protocol(protocol, Base)


@pytest.mark.parametrize("protocol", ["Chat", 5, int, Base()])
def test_what_makes_no_protocol_is_refused_with_what_would(protocol: object) -> None:
    with pytest.raises(OptionError, match=r"protocol takes a subclass of \S*\.?Base, or a callable") as caught:
        check_protocol(protocol, Base)

    assert f"protocol={protocol!r} is not allowed" in str(caught.value)


def test_options_beside_a_factory_are_refused_by_name() -> None:
    refuse_beside_factory({})
    with pytest.raises(OptionError, match=r"a factory or options, not both: .* maxQueue, tls"):
        refuse_beside_factory({"maxQueue": 7, "tls": None})


# Origins.


def test_origins_may_be_listed() -> None:
    origins = ["https://example.com", "http://[::1]:8080", "null", "https://*.example.com"]

    assert value_of("allowedOrigins", origins) == tuple(origins)
    assert value_of("allowedOrigins", "*") == "*"
    assert value_of("allowedOrigins", []) == ()


@pytest.mark.parametrize(
    "value",
    [
        "https://example.com",
        None,
        ["example.com"],
        ["https://example.com/"],
        ["https://exa mple.com"],
        ["https://example.com:99999"],
        ["https://example.com:99999999"],
        ["https://"],
        ["*"],
        [5],
    ],
)
def test_what_no_browser_says_is_no_origin(value: object) -> None:
    """A slash too many would refuse everyone, and a bare string would be a list of its letters."""
    text = refusal("allowedOrigins", value)

    assert text.startswith(f"option allowedOrigins={value!r} is not allowed: allowedOrigins takes ")
    assert "https://example.com" in text


def test_the_fault_of_an_origin_is_told() -> None:
    assert "'https://x:99999' is no origin: the port must be 1-65535" in refusal("allowedOrigins", ["https://x:99999"])
