"""The command line of the service: what it makes, and how it refuses."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint, UNIXServerEndpoint

import wsfactory
from wsfactory.http11 import Headers
from wsfactory.twisted import ServerFactory, ServerProtocol
from wsfactory.twisted.echo import Echo
from wsfactory.twisted.service_options import Options


class Picky(ServerProtocol):
    """Cannot be made by a factory."""

    def __init__(self, room: str) -> None:
        self.room = room


def parsed(*arguments: str) -> Options:
    options = Options()
    options.parseOptions(arguments)
    return options


def factory_of(*arguments: str) -> ServerFactory:
    return parsed(*arguments).factory


def refused(*arguments: str) -> str:
    """Return the one line with which the program ends."""
    with pytest.raises(SystemExit) as caught:
        parsed(*arguments)
    assert isinstance(caught.value.code, str)  # which means status 1, and that it goes to stderr
    assert len(caught.value.code.splitlines()) == 1
    return caught.value.code


def test_without_arguments_it_is_an_echo_for_everybody_on_this_machine() -> None:
    factory = factory_of()

    assert [place.text for place in parsed().places] == ["ws://127.0.0.1:8080/"]
    assert factory.protocol is Echo
    assert factory.options.allowedOrigins == "*"


def test_every_listen_is_a_place() -> None:
    options = parsed("--listen", "tcp:9000", "--listen=ws://[::1]:9001/", "--listen", "unix:/run/x.sock")

    kinds = [type(place.endpoint) for place in options.places]
    assert kinds == [TCP4ServerEndpoint, TCP6ServerEndpoint, UNIXServerEndpoint]


def test_a_protocol_of_the_users_keeps_the_origins_to_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "chat_of_a_test.py").write_text(
        "from wsfactory.twisted import ServerProtocol\nclass Chat(ServerProtocol):\n    pass\n"
    )
    factory = factory_of("--protocol", "chat_of_a_test:Chat")

    assert isinstance(factory.protocol, type)
    assert issubclass(factory.protocol, ServerProtocol)
    assert factory.protocol.__name__ == "Chat"
    assert factory.options.allowedOrigins == "same-origin"


def test_options_subprotocols_and_headers_reach_the_factory() -> None:
    factory = factory_of(
        *("--option", "maxQueue=64,16", "--option", "tcpNoDelay=false"),
        *("--option", "allowedOrigins=https://example.com"),
        *("--subprotocol", "chat.v2", "--subprotocol", "chat.v1"),
        *("--header", "X-One: 1", "--header", "X-One: 2"),
    )

    assert factory.options.maxQueue == (64, 16)
    assert factory.options.allowedOrigins == ("https://example.com",)
    assert factory.options.tcpNoDelay is False
    assert factory.subprotocols == ("chat.v2", "chat.v1")
    assert factory.headers == Headers([("X-One", "1"), ("X-One", "2")])


def test_the_last_of_two_values_holds() -> None:
    assert factory_of("--option", "maxQueue=64", "--option", "maxQueue=32").options.maxQueue == (32, 8)


@pytest.mark.parametrize(
    ("arguments", "named", "allowed"),
    [
        (("--listen", "nonsense"), "--listen nonsense: ", "allowed is an endpoint such as tcp:9000"),
        (("--listen", ""), "--listen : ", "allowed is an endpoint such as tcp:9000"),
        (("--listen", "9000"), "--listen 9000: ", "allowed is an endpoint such as tcp:9000"),
        (("--listen", "tcp"), "--listen tcp: missing 1 required", "allowed is an endpoint such as tcp:9000"),
        (("--listen", "tcp:http-but-not"), "--listen tcp:http-but-not: ", "or a URL such as ws://127.0.0.1:9000/"),
        (("--listen", "tcp:1:x=2"), "--listen tcp:1:x=2: got an unexpected", "allowed is an endpoint such as tcp:9000"),
        (("--listen", "ws://example.com/"), "--listen ws://example.com/: ", "an address of this machine"),
        (("--listen", "ws://127.0.0.1:99999/"), "--listen ws://127.0.0.1:99999/: ", "or a URL such as"),
        (("--listen", "wss://127.0.0.1/"), "--listen wss://127.0.0.1/: ", "ssl:9443:privateKey="),
        (("--listen", "ssl:1:privateKey=/no/such"), "--listen ssl:1:privateKey=/no/such: ", "privateKey=key.pem"),
        (("--protocol", "nonsense"), "--protocol nonsense: ", "allowed is package.module:Class"),
        (("--protocol", "no_such:Thing"), "--protocol no_such:Thing: importing no_such failed", "No module named"),
        (("--protocol", "json:loads"), "--protocol json:loads: ", "a subclass of wsfactory.twisted.ServerProtocol"),
        (("--option", "nonsense"), "--option nonsense: ", "allowed is name=value"),
        (("--option", "nonsense=1"), "--option nonsense=1: ", "allowed are autoPingInterval, "),
        (("--option", "maxQueue=x\ny"), "--option maxQueue=x y: ", "maxQueue takes a whole number"),
        (("--subprotocol", "a b"), "--subprotocol a b: ", "allowed is a name of"),
        (("--header", "a b"), "--header a b: ", "allowed is 'Name: value'"),
        (("--nonsense",), "--nonsense not recognized", "twistd wsfactory --help"),
        (("--listen",), "--listen requires argument", "twistd wsfactory --help"),
        (("tcp:9000",), "'tcp:9000'", "--listen"),
        (("--listen", "stdio"), "--listen stdio: ", "allowed is an endpoint such as tcp:9000"),
        (("--listen", "stdio:"), "--listen stdio:: ", "allowed is an endpoint such as tcp:9000"),
        (("--listen", "haproxy:stdio"), "--listen haproxy:stdio: ", "allowed is an endpoint such as tcp:9000"),
        (("--protocol", f"{__name__}:Picky"), "Picky() failed: TypeError: ", "without arguments"),
        (("--subprotocol", "a", "--subprotocol", "a"), "--subprotocol: ", "a list of different tokens"),
    ],
)
def test_a_bad_value_ends_with_one_line_that_names_the_option_and_what_is_allowed(
    arguments: tuple[str, ...], named: str, allowed: str
) -> None:
    line = refused(*arguments)

    assert line.startswith("twistd wsfactory: ")
    assert named in line
    assert allowed in line


def test_tls_that_is_not_installed_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "OpenSSL", None)
    for name in [name for name in sys.modules if name.startswith(("OpenSSL.", "twisted.internet.ssl"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("twisted.internet.ssl", raising=False)
    line = refused("--listen", "ssl:9443:privateKey=key.pem:certKey=cert.pem")

    assert "--listen ssl:9443:privateKey=key.pem:certKey=cert.pem: " in line
    assert "pip install wsfactory[tls]" in line


def test_help_explains_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    options = Options()
    options.parent = None
    with pytest.raises(SystemExit) as caught:
        options.opt_help()
    text = capsys.readouterr().out

    assert not caught.value.code
    for word in ("--listen=", "--protocol=", "--option=", "--subprotocol=", "--header=", "maxMessagePayloadSize"):
        assert word in text
    assert "python -m wsfactory ws://127.0.0.1:8080/" in text


def test_version_is_ours(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parsed("--version")

    assert not caught.value.code
    assert capsys.readouterr().out.startswith(f"wsfactory {wsfactory.__version__} (")
