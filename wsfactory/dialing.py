"""From a URL to an open connection: attempts, redirects, cancellation; the same on every framework.

Where to connect goes in; the open session comes out, or the reason why not.  How a TCP (or TLS) connection is made is
the flavour's: it hands in ``dial``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar, cast

from wsfactory.factory import SharedFactory
from wsfactory.flavour import Future
from wsfactory.opening import ClientOpening, Connecting, Redirected
from wsfactory.session import ClientSession

__all__ = ["Dial", "open_session"]

SessionT = TypeVar("SessionT", bound=ClientSession)
# Connects a session's transport; done once it is connected.
Dial = Callable[[Connecting, SessionT], Awaitable[object]]


async def open_session(
    factory: SharedFactory[SessionT], details: Connecting, dial: Dial[SessionT], max_redirects: int
) -> SessionT:
    """Return the session that *factory* made once it is open; raises what ended the last attempt.

    Also ``onOpen`` that raised opened it: then it is closing with 1011.  A factory that is shut down by then raises
    ``InvalidState``.

    Cancelling ends the attempt: its transport is aborted, and nothing of it is left.
    """
    redirects_left = max_redirects
    while True:
        try:
            return await _attempt(factory, details, dial, follows=redirects_left > 0)
        except Redirected as redirect:
            redirects_left -= 1
            details = replace(details, url=redirect.url, headers=redirect.request_headers)


async def _attempt(
    factory: SharedFactory[SessionT], details: Connecting, dial: Dial[SessionT], follows: bool
) -> SessionT:
    factory._check_ready()
    session = factory._new_session()
    futures = factory.flavour.futures
    opened = session._ws_opened = futures.create()
    dialling: list[Future] = []

    def start(changed: Connecting) -> None:
        future = futures.from_result(_connect(dial, changed, session))
        assert future is not None
        dialling.append(future)

    session._ws_prepare(details, start, follows)
    try:
        await cast("Awaitable[SessionT]", opened)
        return session
    except BaseException:
        # Cancelled, or failed: whichever it was, nothing goes on in its name.
        session.dropConnection(abort=True)
        for future in dialling:
            futures.cancel(future)
        raise


async def _connect(dial: Dial[SessionT], details: Connecting, session: SessionT) -> None:
    try:
        await dial(details, session)
    except Exception as error:
        opening = session._ws_opening
        if isinstance(opening, ClientOpening) and session._ws_wire is None:
            opening.not_connected(f"cannot connect to {details.url}: {str(error) or type(error).__name__}", error)
