"""What people type: option values, headers, subprotocols, classes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from wsfactory.errors import OptionError
from wsfactory.twisted import ServerProtocol
from wsfactory.twisted.command_line import (
    load_class,
    naming_the_option,
    one_line,
    parse_header,
    parse_option,
    parse_subprotocol,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("maxQueue=100", 100),
        ("maxQueue=64,16", (64, 16)),
        ("maxQueue=(64, 16)", (64, 16)),
        ("maxQueue = 100 ", 100),
        ("maxMessagePayloadSize=none", None),
        ("maxMessagePayloadSize=None", None),
        ("maxMessagePayloadSize=0", 0),
        ("openHandshakeTimeout=2.5", 2.5),
        ("openHandshakeTimeout=1e1", 10.0),
        ("tcpNoDelay=false", False),
        ("failByDrop=True", True),
        ("allowedOrigins=*", "*"),
        ("allowedOrigins=same-origin", "same-origin"),
        ("allowedOrigins=https://example.com", ["https://example.com"]),
        ("allowedOrigins=https://example.com, null", ["https://example.com", "null"]),
        ("allowedOrigins=['https://example.com:8443']", ["https://example.com:8443"]),
        ("allowedOrigins=", []),
        ("slowConsumer=close", "close"),
    ],
)
def test_an_option_has_the_value_that_its_text_means(text: str, value: object) -> None:
    name, parsed = parse_option(text)

    assert (name, parsed, type(parsed)) == (text.partition("=")[0].strip(), value, type(value))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "name=value"),
        ("maxQueue", "name=value"),
        ("=1", "unknown option ''"),
        ("nonsense=1", "unknown option 'nonsense'; allowed are autoPingInterval,"),
        ("maxQueue=many", "maxQueue takes a whole number"),
        ("maxQueue=-1", "maxQueue takes a whole number"),
        ("maxQueue=1.5", "maxQueue takes a whole number"),
        ("maxQueue=true", "maxQueue takes a whole number"),
        ("maxQueue=16,64", "(high, low)"),
        ("openHandshakeTimeout=1e999", "openHandshakeTimeout takes a number of seconds"),
        ("openHandshakeTimeout=soon", "openHandshakeTimeout takes a number of seconds"),
        ("tcpNoDelay=1", "tcpNoDelay takes True or False"),
        ("allowedOrigins=none", "allowedOrigins takes"),
        ("allowedOrigins=example.com", "allowedOrigins takes"),
        ("maxQueue=" + "(" * 500, "maxQueue takes a whole number"),
    ],
)
def test_a_bad_option_is_refused_with_what_is_allowed(text: str, said: str) -> None:
    with pytest.raises(OptionError) as caught:
        parse_option(text)

    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("X-Served-By: me", ("X-Served-By", "me")),
        ("X-Served-By:me", ("X-Served-By", "me")),
        ("X-Empty:", ("X-Empty", "")),
        ("X-Colons: a:b: c", ("X-Colons", "a:b: c")),
    ],
)
def test_a_header_is_a_name_and_a_value(text: str, pair: tuple[str, str]) -> None:
    assert parse_header(text) == pair


@pytest.mark.parametrize(
    "text",
    ["", " ", "X-A", ": b", "X A: b", "X-A : b", "X-A: b\r\nC: d", "X-A: \u20ac", "Upgrade: x", "Sec-WebSocket-Key: x"],
)
def test_a_header_that_could_not_be_sent_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match="allowed is 'Name: value'"):
        parse_header(text)


def test_a_subprotocol_is_a_token() -> None:
    assert parse_subprotocol("chat.v1") == "chat.v1"
    for text in ("", "a b", "a,b", "a/b", "ä", "a\n"):
        with pytest.raises(OptionError, match=r"like chat\.v1"):
            parse_subprotocol(text)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with nothing in it, and imports that are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(sys, "modules", sys.modules.copy())
    return tmp_path


def test_a_class_is_found_in_the_current_directory(here: Path) -> None:
    package = here / "local_chat"
    package.mkdir()
    (package / "server.py").write_text(
        "from wsfactory.twisted import ServerProtocol\nclass Chat(ServerProtocol):\n    pass\n"
    )
    found = load_class("local_chat.server:Chat", ServerProtocol)

    assert issubclass(found, ServerProtocol)
    assert found.__qualname__ == "Chat"


@pytest.mark.parametrize("text", ["", ":", "local_chat", "local_chat:", ":Chat", "local_chat:Chat()", "a:b:c"])
def test_what_is_not_module_colon_class_is_refused(here: Path, text: str) -> None:
    with pytest.raises(OptionError, match=r"allowed is package\.module:Class"):
        load_class(text, ServerProtocol)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import not_there_at_all", r"ModuleNotFoundError: No module named '\w+' \(.*broken\.py, line 1\)"),
        ("\nraise ValueError('so\\nthere')", r"ValueError: so\nthere \(.*broken\.py, line 2\)"),
        ("raise SystemExit(0)", r"SystemExit: 0 \(.*broken\.py, line 1\)"),
        ("def (", r"SyntaxError: .*\(broken\.py, line 1\)$"),
        ("", r"the module broken has no Chat"),
        ("Chat = 5", r"Chat is not a subclass of wsfactory\.twisted"),
        ("class Chat: pass", r"Chat is not a subclass of wsfactory\.twisted"),
    ],
)
def test_a_module_that_cannot_be_used_says_why_and_where(here: Path, source: str, said: str) -> None:
    (here / "broken.py").write_text(source)
    with pytest.raises(OptionError, match=said):
        load_class("broken:Chat", ServerProtocol)


@pytest.mark.parametrize("name", ["not_there_at_all", "..chat", "chat..server", "a b"])
def test_a_module_that_is_not_there_is_named(here: Path, name: str) -> None:
    with pytest.raises(OptionError, match=f"importing {name.replace('.', '[.]')} failed: "):
        load_class(f"{name}:Chat", ServerProtocol)


def test_a_class_that_is_not_made_without_arguments_is_refused(here: Path) -> None:
    """A server would notice with its first client, and no sooner."""
    (here / "picky.py").write_text(
        "from wsfactory.twisted import ServerProtocol\n"
        "class Chat(ServerProtocol):\n    def __init__(self, room):\n        pass\n"
        "class Broken(ServerProtocol):\n    def __init__(self):\n        raise SystemExit(0)\n"
    )
    with pytest.raises(OptionError, match=r"Chat\(\) failed: TypeError: .*'room'; allowed is .* without arguments"):
        load_class("picky:Chat", ServerProtocol)
    with pytest.raises(OptionError, match=r"Broken\(\) failed: SystemExit: 0 \(.*picky\.py, line 7\); allowed is "):
        load_class("picky:Broken", ServerProtocol)


def test_a_factorys_complaint_is_given_the_name_of_the_option() -> None:
    for complaint, said in (
        ("subprotocols=['a',\n'a'] is", "--subprotocol: subprotocols=['a', 'a'] is"),
        ("headers takes", "--header: headers takes"),
        ("option maxQueue=1 is", "--option: option maxQueue=1 is"),
        ("something else", "something else"),
    ):
        assert naming_the_option(OptionError(complaint)) == said


def test_one_line_is_one_line() -> None:
    """Whatever an exception's text has in it, a terminal gets nothing to obey."""
    assert one_line(ValueError("so\r\n  there\x1b[31m \u2028\u202e grün")) == "so there\\x1b[31m \\u202e grün"
