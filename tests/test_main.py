"""The command line of the terminal client."""

from __future__ import annotations

import io
import os
import sys
from dataclasses import replace

import pytest

import wsfactory
from wsfactory import testing
from wsfactory.__main__ import main
from wsfactory.twisted import terminal
from wsfactory.twisted.screen import Screen
from wsfactory.twisted.terminal import Asked

URL = "ws://127.0.0.1:8080/"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Asked]:
    """What the program was asked for, instead of doing it."""
    calls: list[Asked] = []

    def run(asked: Asked, screen: Screen) -> int:
        calls.append(asked)
        screen.result("€")
        return 7

    monkeypatch.setattr(terminal, "run", run)
    return calls


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ([URL], Asked(URL)),
        ([URL, "--message", "hello"], Asked(URL, message="hello")),
        (["--message=", URL], Asked(URL, message="")),
        ([URL, "--ping", "5"], Asked(URL, pings=5)),
        ([URL, "--header", "X-A: 1", "--header", "X-B:2"], Asked(URL, headers=(("X-A", "1"), ("X-B", "2")))),
        ([URL, "--subprotocol", "b", "--subprotocol", "a"], Asked(URL, subprotocols=("b", "a"))),
        (["wss://[::1]/x?y=z", "--insecure"], Asked("wss://[::1]/x?y=z", insecure=True)),
        (["ws+unix:///run/x.sock:/"], Asked("ws+unix:///run/x.sock:/")),
    ],
)
def test_the_arguments_say_what_to_do(asked: list[Asked], arguments: list[str], wanted: Asked) -> None:
    assert main(arguments) == 7
    assert asked == [replace(wanted, piped=True)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "URL"),
        (["127.0.0.1:8080"], "argument URL: "),
        (["http://127.0.0.1:8080/"], "the scheme must be ws, wss or ws+unix"),
        (["ws://127.0.0.1:99999/"], "argument URL: "),
        ([URL, URL], "unrecognized arguments"),
        ([URL, "--nonsense"], "unrecognized arguments: --nonsense"),
        ([URL, "--ping"], "argument --ping: expected one argument"),
        ([URL, "--ping", "0"], "argument --ping: '0' is not a whole number, 1 or more"),
        ([URL, "--ping", "²"], "argument --ping: '²' is not a whole number, 1 or more"),
        ([URL, "--ping", "1", "--message", "x"], "not allowed with argument --ping"),
        ([URL, "--message", "\udcff"], "argument --message: "),
        ([URL, "--header", "X"], "argument --header: a header line has no colon; allowed is 'Name: value'"),
        ([URL, "--header", "Upgrade: x"], "argument --header: "),
        ([URL, "--subprotocol", "a b"], "argument --subprotocol: "),
    ],
)
def test_a_bad_command_line_has_status_2(
    asked: list[Asked], capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    output = capsys.readouterr()

    assert caught.value.code == 2
    assert said in output.err
    assert output.err.startswith("usage: python -m wsfactory ")
    assert (output.out, asked) == ("", [])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--subprotocol", "a", "--subprotocol", "a"],
            "error: --subprotocol: subprotocols=('a', 'a') is not allowed",
        ),
        (["--header", "Host: a", "--header", "Host: b"], "error: --header: "),
        (["--header", "Authorization: a", "--header", "authorization: b"], "the header Authorization is given twice"),
        (["--header", "Origin: a", "--header", "ORIGIN: b"], "the header Origin is given twice"),
    ],
)
def test_values_that_do_not_go_together_have_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    """Each is fine by itself; that they cannot all be sent is told before the reactor runs."""
    monkeypatch.setattr(terminal, "the_reactor", testing.Clock)
    with pytest.raises(SystemExit) as caught:
        main([URL, *arguments])
    output = capsys.readouterr()

    assert caught.value.code == 2
    assert output.err.startswith("usage: python -m wsfactory ")
    assert said in output.err.splitlines()[-1]


def test_help_and_version_are_for_newcomers(capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("--help", "--version"):
        with pytest.raises(SystemExit) as caught:
            main([option])
        assert caught.value.code == 0
    text = capsys.readouterr().out

    assert f"wsfactory {wsfactory.__version__} (" in text
    for word in ("Ctrl-D", "exit status", "--ping N", "--message TEXT", "ws://127.0.0.1:8080/"):
        assert word in text


def test_an_output_that_lacks_characters_gets_escapes(asked: list[Asked], monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out, encoding="latin-1"))
    main([URL])

    assert out.getvalue() == b"\\u20ac\n"


def test_somebody_who_types_is_told_from_a_pipe(asked: list[Asked], monkeypatch: pytest.MonkeyPatch) -> None:
    master, terminal = os.openpty()
    with os.fdopen(master), os.fdopen(terminal) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        main([URL])

    assert [one.piped for one in asked] == [False]


def test_streams_that_were_closed_from_the_start_are_no_fault(
    asked: list[Asked], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)

    assert main([URL]) == 7
