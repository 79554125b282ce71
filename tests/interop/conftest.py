"""What the interop tests stand on: our flavours, the peers' processes, certificates, and a watch on the log."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
import pytest_twisted
from twisted.logger import ILogObserver, globalLogPublisher
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
    from certificates import Authority

    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def logged() -> Iterator[list[dict[str, Any]]]:
    """Return the list of everything that is logged during a test."""
    events: list[dict[str, Any]] = []

    @implementer(ILogObserver)
    def observe(event: dict[str, Any]) -> None:
        events.append(event)

    globalLogPublisher.addObserver(observe)
    yield events
    globalLogPublisher.removeObserver(observe)


@pytest.fixture(autouse=True)
def nothing_raised() -> Iterator[None]:
    """Fail the test where an exception was logged that none of its callbacks raised on purpose."""
    failures: list[str] = []

    @implementer(ILogObserver)
    def observe(event: dict[str, Any]) -> None:
        if "log_failure" in event and "on purpose" not in str(event["log_failure"].value):
            failures.append(event["log_failure"].getTraceback())

    globalLogPublisher.addObserver(observe)
    yield
    globalLogPublisher.removeObserver(observe)
    assert not failures, "\n".join(failures)
