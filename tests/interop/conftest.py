"""What the interop tests stand on: our flavours, the peers' processes, certificates, and a watch on the log."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import pytest_twisted
from twisted.logger import ILogObserver, eventAsText, globalLogPublisher
from zope.interface import implementer

pytest.register_assert_rewrite("scenarios", "peering")

if TYPE_CHECKING:
    from ours import Ours
    from peering import PeerProcess

    Peers = Callable[[str], PeerProcess]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what asks for our side on each flavour."""
    if "ours" in metafunc.fixturenames:
        # Not at the top: what it imports installs a reactor, and which one is pytest-twisted's to say.
        from ours import FLAVOURS

        metafunc.parametrize("ours", FLAVOURS, indirect=True)


@pytest.fixture(scope="session")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peers]:
    """Give a peer's process by the peer's name; it starts at the first call and ends with the test run."""
    from peering import PEERS, PeerProcess

    logs = tmp_path_factory.mktemp("peers")
    running: dict[str, PeerProcess] = {}

    def process_of(name: str) -> PeerProcess:
        if missing := PEERS[name].missing():
            pytest.skip(f"{missing} is not installed")
        if name not in running:
            running[name] = PeerProcess(PEERS[name], logs / f"{name}.log")
        return running[name]

    yield process_of
    for process in running.values():
        process.end()


@pytest_twisted.async_yield_fixture
async def ours(request: pytest.FixtureRequest) -> AsyncIterator[Ours]:
    """Our side, on each flavour; what a test leaves open is aborted."""
    from ours import FLAVOURS

    flavour = FLAVOURS[request.param]()
    yield flavour
    await flavour.stop()


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a certificate authority of this test run's."""
    pytest.importorskip("cryptography")
    pytest.importorskip("OpenSSL")
    from tests.certificates import Authority

    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def logged() -> Iterator[list[dict[str, Any]]]:
    """Return the list of everything that is logged during a test, by either framework, as events of twisted.logger."""
    events: list[dict[str, Any]] = []
    with observed(events.append):
        yield events


@pytest.fixture(autouse=True)
def nothing_raised() -> Iterator[None]:
    """Fail the test where an exception was logged that none of its callbacks raised on purpose."""
    failures: list[str] = []

    def observe(event: dict[str, Any]) -> None:
        if "log_failure" in event and "on purpose" not in str(event["log_failure"].value):
            failures.append(event["log_failure"].getTraceback())
        elif "on purpose" not in event.get("traceback", "on purpose"):
            failures.append(eventAsText(event))

    with observed(observe):
        yield
    assert not failures, "\n".join(failures)


@contextmanager
def observed(observe: Callable[[dict[str, Any]], object]) -> Iterator[None]:
    """Have *observe* called with each event of twisted.logger, and each record of the standard library's logging."""

    @implementer(ILogObserver)
    def observe_event(event: dict[str, Any]) -> None:
        observe(event)

    root, bridge = logging.getLogger(), _Bridge(observe)
    level_before = root.level
    globalLogPublisher.addObserver(observe_event)
    root.addHandler(bridge)
    root.setLevel(logging.INFO)
    yield
    root.setLevel(level_before)
    root.removeHandler(bridge)
    globalLogPublisher.removeObserver(observe_event)


class _Bridge(logging.Handler):
    """Turns a record into an event."""

    def __init__(self, observe: Callable[[dict[str, Any]], object]) -> None:
        super().__init__()
        self._observe = observe

    def emit(self, record: logging.LogRecord) -> None:
        event: dict[str, Any] = {"log_format": "{text}", "text": record.getMessage(), "log_namespace": record.name}
        if record.exc_info:
            event["traceback"] = logging.Formatter().formatException(record.exc_info)
        self._observe(event)
