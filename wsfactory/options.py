"""Every setting of a factory: its default, its check, what is allowed.

Keyword arguments go in, one frozen ``Options`` comes out; an unknown name or a bad value raises ``OptionError``, which
names it and says what is allowed.  ``Options`` is shared by all connections of a factory.  For every limit 0 or None
means none.  No I/O, no clock.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

from wsfactory.errors import OptionError
from wsfactory.origins import check_allowed_origins

__all__ = ["Options", "changed", "check_protocol", "option_names", "refuse_beside_factory"]

KIB: Final = 1024
MIB: Final = 1024 * KIB

Check = Callable[[object], object]


class _Bad(ValueError):
    """A check failed; the text says what is allowed."""


def _number(value: object) -> bool:
    # Compared: isfinite() does not take a whole number beyond a float's range, and a NaN is below nothing.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _seconds(value: object) -> float | None:
    if value is None:
        return None
    if not _number(value) or value < 0:  # type: ignore[operator]
        raise _Bad("a number of seconds, 0 or more, or None")
    return float(value) or None  # type: ignore[arg-type]


def _limit(value: object) -> int:
    if value is None:
        return 0
    if not _whole(value) or value < 0:  # type: ignore[operator]
        raise _Bad("a whole number, 0 or more, or None; 0 and None mean no limit")
    return value  # type: ignore[return-value]


def _between(low: int, high: int | None) -> Check:
    allowed = f"a whole number from {low} to {high}" if high else f"a whole number, {low} or more"

    def check(value: object) -> int:
        if not _whole(value) or value < low or (high is not None and value > high):  # type: ignore[operator]
            raise _Bad(allowed)
        return value  # type: ignore[return-value]

    return check


def _truth(value: object) -> bool:
    if not isinstance(value, bool):
        raise _Bad("True or False")
    return value


def _marks(value: object) -> tuple[int, int]:
    """Return a bound with hysteresis: the high mark, and the low one at which things go on (a quarter by default)."""
    if isinstance(value, tuple) and len(value) == 2 and all(_whole(mark) for mark in value):
        high, low = value
        if not 0 <= low < high:
            raise _Bad("(high, low) with 0 <= low < high")
        return high, low
    try:
        high = _limit(value)
    except _Bad as error:
        raise _Bad(f"{error}; or (high, low)") from None
    return high, high // 4


# As in origins.py, which matches with them: what a browser says, or with a wildcard for the host's first labels.
_LISTS: Final = (list, tuple, set, frozenset)
_ORIGINS_ALLOWED: Final = (
    '"same-origin", "*", or a list of origins such as "https://example.com", "https://example.com:8443",'
    ' "https://*.example.com" (no path, no slash at the end) and "null"'
)


def _origins(value: object) -> str | tuple[str, ...]:
    entries = value if isinstance(value, str) else tuple(value) if isinstance(value, _LISTS) else None
    if entries is None or not all(isinstance(entry, str) for entry in entries):
        raise _Bad(_ORIGINS_ALLOWED)
    try:
        check_allowed_origins(entries)
    except ValueError as fault:
        raise _Bad(f'"same-origin", "*", or a list of origins; {fault}') from None
    return entries


def _option(default: Any, check: Check, *, built: bool = True) -> Any:
    """Declare an option; one that is not *built* yet is off and takes no other value."""
    return field(default=default, metadata={"check": check if built else _off(default, check)})


def _off(default: object, check: Check) -> Check:
    def off(value: object) -> object:
        meant = _meant(value, check)
        if type(meant) is not type(default) or meant != default:
            raise _Bad(f"only {default!r}: this option is not available yet")
        return default

    return off


def _meant(value: object, check: Check) -> object:
    try:
        return check(value)
    except _Bad:
        return value


@dataclass(frozen=True, slots=True)
class Options:
    """What ``setProtocolOptions`` takes; durations in seconds, sizes in bytes.  See docs/options.rst for each."""

    autoPingInterval: float | None = _option(None, _seconds, built=False)
    autoPingTimeout: float | None = _option(None, _seconds, built=False)
    autoPingSize: int = _option(12, _between(4, 125), built=False)
    autoPingRestartOnAnyTraffic: bool = _option(True, _truth, built=False)
    keepaliveMessage: object = _option(None, _truth, built=False)
    autoReply: Mapping[str | bytes, str | bytes] | None = _option(None, _truth, built=False)
    maxQueue: tuple[int, int] = _option((32, 8), _marks)
    maxQueueBytes: tuple[int, int] = _option((4 * MIB, MIB), _marks)
    handlerConcurrency: int = _option(1, _between(1, None), built=False)
    maxMessagePayloadSize: int = _option(MIB, _limit)
    maxFramePayloadSize: int = _option(0, _limit)
    maxFragments: int = _option(4096, _limit)
    autoFragmentSize: int = _option(0, _limit)
    readLimit: int = _option(64 * KIB, _between(KIB, 64 * MIB))
    writeLimit: tuple[int, int] = _option((64 * KIB, 16 * KIB), _marks)
    maxSendBuffer: int = _option(0, _limit, built=False)
    slowConsumer: str = _option("close", _truth, built=False)
    openHandshakeTimeout: float | None = _option(10.0, _seconds)
    closeHandshakeTimeout: float | None = _option(10.0, _seconds)
    failByDrop: bool = _option(False, _truth)
    tcpNoDelay: bool = _option(True, _truth)
    compression: object = _option(None, _truth, built=False)
    logFrames: bool = _option(False, _truth, built=False)
    allowedOrigins: str | tuple[str, ...] = _option("same-origin", _origins)
    maxConnections: int = _option(0, _limit, built=False)
    maxConnectionsPerIP: int = _option(0, _limit, built=False)
    trustedProxies: tuple[str, ...] = _option((), _truth, built=False)
    healthPath: str | None = _option(None, _truth, built=False)


_CHECKS: Final[Mapping[str, Check]] = {option.name: option.metadata["check"] for option in fields(Options)}


def option_names() -> tuple[str, ...]:
    """Return the names of all options, in the order of the table."""
    return tuple(_CHECKS)


def changed(options: Options, changes: Mapping[str, object]) -> Options:
    """Return *options* with *changes*, each checked; what is not in *changes* stays.  Raises ``OptionError``."""
    return replace(options, **{name: _checked(name, value) for name, value in changes.items()})  # type: ignore[arg-type]


def check_protocol(protocol: object, base: type) -> None:
    """Raise ``OptionError`` unless *protocol*, which a factory is given, is None or can make a *base*.

    That is a subclass of it; or a callable which is no class, and of which nobody knows what it returns.
    """
    fits = issubclass(protocol, base) if isinstance(protocol, type) else protocol is None or callable(protocol)
    if not fits:
        wanted = f"{base.__module__.rpartition('.')[0]}.{base.__name__}"
        raise OptionError(f"protocol={protocol!r} is not allowed: protocol takes a subclass of {wanted}, or a callable")


def refuse_beside_factory(options: Mapping[str, object]) -> None:
    """Raise ``OptionError`` if there are *options* in a call that is given a factory: it has its own, and is shared."""
    if options:
        names = ", ".join(options)
        raise OptionError(f"connect takes a factory or options, not both: give the factory itself {names}")


def _checked(name: str, value: object) -> object:
    check = _CHECKS.get(name)
    if check is None:
        raise OptionError(f"unknown option {name!r}; allowed are {', '.join(_CHECKS)}")
    try:
        return check(value)
    except _Bad as bad:
        raise OptionError(f"option {name}={value!r} is not allowed: {name} takes {bad}") from None
