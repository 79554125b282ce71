"""Sec-WebSocket-Extensions: its grammar and its bounds (RFC 6455 section 9.1)."""

from __future__ import annotations

import pytest

from wsfactory.errors import Refused
from wsfactory.extensions import MAX_LIST, ExtensionOffer, parse_extensions


def refused(*values: str) -> Refused:
    with pytest.raises(Refused) as caught:
        parse_extensions(values)
    return caught.value


def test_extensions_have_a_name_and_parameters_in_order() -> None:
    assert parse_extensions(["a; b; c=d; b=1, e"]) == (
        ExtensionOffer("a", (("b", None), ("c", "d"), ("b", "1"))),
        ExtensionOffer("e"),
    )


def test_several_headers_are_read_like_one_list() -> None:
    assert parse_extensions(["a; b", "c, d"]) == parse_extensions(["a; b, c, d"])


def test_a_quoted_value_means_the_same_as_a_plain_one() -> None:
    assert parse_extensions(['a; b="c\\d"']) == parse_extensions(["a; b=cd"])


@pytest.mark.parametrize("value", ["a; b, c", ",a;b,,c,", " a\t;  b ,\tc ", "a;b,c, ,"])
def test_blanks_and_empty_elements_do_not_count(value: str) -> None:
    assert parse_extensions([value]) == (ExtensionOffer("a", (("b", None),)), ExtensionOffer("c"))


@pytest.mark.parametrize("values", [[], [""], [" "], [","], ["", ",", " , "]])
def test_a_list_of_nothing_is_empty(values: list[str]) -> None:
    assert parse_extensions(values) == ()


@pytest.mark.parametrize(
    "value", ["a b", "a; b c", "a;", "a;;b", ";a", "a; b=", "a; b=;", "=a", "a; b=c=d", "\xe4", "a; =b"]
)
def test_text_outside_of_the_grammar_gets_400(value: str) -> None:
    assert refused("fine", value).status == 400


@pytest.mark.parametrize("value", ['a; b="c', 'a; b="c d"', 'a; b=""', '"a"', 'a; b="c"d', 'a; b="c\\"', 'a; b="c,d"'])
def test_a_quoted_value_that_is_no_token_gets_400(value: str) -> None:
    assert refused(value).status == 400


def test_the_text_of_an_extension_reads_as_the_same() -> None:
    (offer,) = parse_extensions(['a; b; c="d"'])

    assert str(offer) == "a; b; c=d"
    assert parse_extensions([str(offer)]) == (offer,)


def test_a_list_beyond_all_use_gets_400_before_it_takes_memory() -> None:
    assert len(parse_extensions(["a" + ",a" * MAX_LIST])) == MAX_LIST + 1
    assert refused("a" + ",a" * MAX_LIST, "a,a").status == 400
    assert refused("a" + ";a" * (MAX_LIST + 1)).status == 400


@pytest.mark.parametrize("value", ["a" * 60_000, "a" + " " * 60_000, 'a;b="' + "\\a" * 30_000, "a;b" + "\t" * 60_000])
def test_a_long_list_with_a_fault_at_its_end_is_read_in_linear_time(value: str) -> None:
    """Were the expression to go back and forth, this would not end while anybody waits."""
    assert refused(value + "(").status == 400
