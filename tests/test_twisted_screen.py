"""Nothing of the peer's reaches a terminal as something that it obeys."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from wsfactory.twisted.screen import Screen, printable, shown_binary


def screen(*, interactive: bool = False) -> tuple[Screen, io.StringIO, io.StringIO]:
    out, err = io.StringIO(), io.StringIO()
    return Screen(out, err, interactive), out, err


def test_every_control_character_is_escaped() -> None:
    for number in (*range(0x20), *range(0x7F, 0xA0)):
        shown = printable(chr(number))

        assert shown.startswith("\\")
        assert all(" " <= char <= "~" for char in shown)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb\tc\r", r"a\nb\tc\r"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("\x9b31m", r"\x9b31m"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("line\u2028line\u2029", r"line\u2028line\u2029"),
        ("\u2066\u2069\u200f\u061c", r"\u2066\u2069\u200f\u061c"),
    ],
)
def test_what_a_terminal_obeys_is_shown_as_an_escape(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_other_text_stays_as_it_is() -> None:
    """Joined emoji, combining marks, blanks of other languages."""
    text = "gr\u00fcn \U0001f469\u200d\U0001f680 e\u0301 \u65e5\u672c\u3000\u8a9e \u05e9\u05dc 100\u00a0% C:\\new"

    assert printable(text) == text


def test_binary_messages_are_shown_by_their_length_and_first_bytes() -> None:
    assert shown_binary(b"\x00\xffA") == "[binary, 3 bytes] 00 ff 41"
    assert shown_binary(b"") == "[binary, 0 bytes]"
    assert shown_binary(bytes(64)).endswith("00 00")
    assert shown_binary(bytes(65)) == shown_binary(bytes(64)).replace("64", "65") + " ..."


def test_a_message_is_one_line_on_stdout() -> None:
    shown, out, err = screen()
    shown.message("gr\u00fcn\nb\u00e4ume".encode(), is_binary=False)
    shown.message(b"\x01", is_binary=True)

    assert out.getvalue() == "gr\u00fcn\\nb\u00e4ume\n[binary, 1 bytes] 01\n"
    assert err.getvalue() == ""


def test_for_somebody_who_types_messages_are_marked_and_remarks_made() -> None:
    """For a program they are not."""
    for interactive, on_out, on_err in ((True, "< hello\n", "welcome\n"), (False, "hello\n", "")):
        shown, out, err = screen(interactive=interactive)
        shown.message(b"hello", is_binary=False)
        shown.remark("welcome")

        assert (out.getvalue(), err.getvalue()) == (on_out, on_err)


def test_complaints_name_the_program_and_are_one_line() -> None:
    shown, out, err = screen()
    shown.complain("the server said \x1b[31mno\nreally")

    assert err.getvalue() == "wsfactory: the server said \\x1b[31mno\\nreally\n"
    assert out.getvalue() == ""


def test_nobody_listening_is_told_for_stdout_and_ignored_for_stderr() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    with open(write_end, "w", buffering=1) as broken:
        shown = Screen(broken, broken, interactive=True)
        shown.complain("x")
        with pytest.raises(BrokenPipeError):
            shown.message(b"x", is_binary=False)
        shown.give_up_output()
        shown.message(b"x", is_binary=False)

        assert Path(f"/dev/fd/{write_end}").resolve() == Path(os.devnull)
