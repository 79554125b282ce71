"""Header fields: a multi-map in any case that does not change."""

from __future__ import annotations

from wsfactory.headers import Headers


def test_headers_are_found_in_any_case_and_lines_stay_apart() -> None:
    headers = Headers([("Set-Cookie", "a=1, b"), ("X", "1"), ("set-cookie", "c=2")])

    assert headers.get("SET-COOKIE") == headers["Set-cookie"] == "a=1, b"
    assert headers.get_all("Set-Cookie") == ["a=1, b", "c=2"]
    assert ("x" in headers, "y" in headers, 5 in headers) == (True, False, False)
    assert (headers.get("y"), headers.get("y", "z"), headers.get_all("y"), len(headers)) == (None, "z", [], 3)


def test_a_list_may_span_several_lines_and_its_empty_elements_do_not_count() -> None:
    headers = Headers([("Connection", "keep-alive,, Upgrade\t,"), ("connection", " x")])

    assert headers.tokens("Connection") == ["keep-alive", "Upgrade", "x"]


def test_headers_do_not_change() -> None:
    pairs = [("A", "1")]
    headers = Headers(pairs)
    pairs.append(("B", "2"))
    headers.get_all("A").append("2")

    assert list(headers) == [("A", "1")]
    assert headers.get_all("A") == ["1"]


def test_headers_are_equal_when_only_the_case_of_names_differs() -> None:
    headers = Headers({"A": "x"})

    assert headers == Headers([("a", "x")])
    assert hash(headers) == hash(Headers([("a", "x")]))
    assert headers != Headers({"A": "X"})
    assert headers != {"A": "x"}


def test_without_drops_names_in_any_case() -> None:
    assert Headers([("A", "1"), ("b", "2"), ("a", "3")]).without(["a"]) == Headers({"B": "2"})
