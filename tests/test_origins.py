"""Which pages may connect (RFC 6455 section 10.2, RFC 6454)."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from wsfactory.origins import check_allowed_origins, is_origin_allowed


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://example.com", "example.com"),
        ("http://example.com", "example.com:80"),
        ("https://example.com", "example.com:443"),
        ("https://example.com", "example.com"),
        ("https://example.com", "example.com:"),
        ("https://example.com:443", "example.com"),
        ("http://example.com:8080", "example.com:8080"),
        ("https://example.com:8080", "example.com:8080"),
        ("http://Example.COM", "eXample.com"),
        ("http://[::1]:9000", "[::1]:9000"),
        ("http://localhost", "localhost"),
    ],
)
def test_the_same_origin_is_the_same_host_and_port_whatever_the_scheme(origin: str, host: str) -> None:
    assert is_origin_allowed(origin, host, "same-origin")


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://evil.com", "example.com"),
        ("http://example.com.evil.com", "example.com"),
        ("http://sub.example.com", "example.com"),
        ("http://example.com:8080", "example.com"),
        ("http://example.com", "example.com:8080"),
        ("http://example.com", "example.com:443"),
        ("https://example.com", "example.com:80"),
        ("http://example.com@evil.com", "example.com"),
        ("http://evil.com@example.com", "example.com"),
        ("http://example.com/", "example.com"),
        ("http://example.com http://evil.com", "example.com"),
        ("example.com", "example.com"),
        ("//example.com", "example.com"),
        ("app://example.com", "example.com"),
        ("null", "null"),
        ("null", "example.com"),
        ("", "example.com"),
        ("http://", ""),
        ("http://example.com", ""),
        ("http://example.com", "example.com, evil.com"),
    ],
)
def test_another_host_or_port_is_another_origin(origin: str, host: str) -> None:
    assert not is_origin_allowed(origin, host, "same-origin")


@pytest.mark.parametrize("origin", ["http://evil.com", "null", "file://", "anything"])
def test_a_star_allows_every_origin_null_too(origin: str) -> None:
    assert is_origin_allowed(origin, "example.com", "*")


@pytest.mark.parametrize(
    ("entry", "origin"),
    [
        ("https://example.com", "https://example.com"),
        ("https://example.com", "https://example.com:443"),
        ("https://example.com:443", "https://example.com"),
        ("HTTPS://Example.com", "https://example.COM"),
        ("http://example.com:8080", "http://example.com:8080"),
        ("http://[::1]:80", "http://[::1]"),
        ("null", "null"),
        ("NULL", "null"),
        ("chrome-extension://abcdefgh", "chrome-extension://abcdefgh"),
        ("https://*.example.com", "https://a.example.com"),
        ("https://*.example.com", "https://a.b.example.com:443"),
        ("https://*.example.com:8443", "https://a.example.com:8443"),
    ],
)
def test_a_listed_origin_is_allowed_with_its_port_normalised(entry: str, origin: str) -> None:
    assert is_origin_allowed(origin, "other.example", ["http://first.example", entry])


@pytest.mark.parametrize(
    ("entry", "origin"),
    [
        ("https://example.com", "http://example.com"),
        ("https://example.com", "https://example.com:8443"),
        ("https://example.com", "https://www.example.com"),
        ("https://example.com", "https://example.com.evil.com"),
        ("https://example.com", "https://exampleXcom"),
        ("https://example.com", "null"),
        ("https://example.com", "https://example.com/x"),
        ("null", "https://null"),
        ("https://*.example.com", "https://example.com"),
        ("https://*.example.com", "https://.example.com.evil.com"),
        ("https://*.example.com", "https://example.com.evil.com"),
        ("https://*.example.com", "https://a.example.com.evil.com"),
        ("https://*.example.com", "https://badexample.com"),
        ("https://*.example.com", "https://evil.com#.example.com"),
        ("https://*.example.com", "https://evil.com/.example.com"),
        ("https://*.example.com", "https://evil.com:80.example.com"),
        ("https://*.example.com", "http://a.example.com"),
        ("https://*.example.com", "https://a.example.com:8443"),
        ("https://*.example.com", "https://*.example.com"),
    ],
)
def test_what_is_not_listed_is_not_allowed(entry: str, origin: str) -> None:
    """A wildcard stands for whole labels in front of the host, and for nothing behind it."""
    assert not is_origin_allowed(origin, "example.com", (entry,))


def test_a_list_does_not_allow_the_same_origin_by_itself() -> None:
    assert not is_origin_allowed("http://example.com", "example.com", ())
    assert not is_origin_allowed("http://example.com", "example.com", ["null"])


@pytest.mark.parametrize(
    "allowed", ["same-origin", "*", [], ["null"], ["NULL"], ("https://a:1", "https://*.b", "app://c_d.e")]
)
def test_these_can_be_allowed(allowed: str | Sequence[str]) -> None:
    check_allowed_origins(allowed)


@pytest.mark.parametrize(
    "allowed",
    [
        "https://example.com",
        "",
        ["example.com"],
        ["https://example.com/"],
        ["https://example.com:port"],
        ["https://*"],
        ["https://exam*.com"],
        ["*.example.com"],
        ["*"],
        ["same-origin"],
        ["https://exämple.com"],
        ["https://"],
        [""],
    ],
)
def test_what_cannot_be_allowed_is_named_with_what_can(allowed: str | Sequence[str]) -> None:
    with pytest.raises(ValueError, match=r"https://\*\.example\.com|list of origins") as caught:
        check_allowed_origins(allowed)

    assert repr(allowed if isinstance(allowed, str) else allowed[0]) in str(caught.value)


@pytest.mark.parametrize("port", ["0", "65536", "99999"])
def test_a_port_that_is_none_is_named_as_the_fault(port: str) -> None:
    with pytest.raises(ValueError, match="the port must be 1-65535"):
        check_allowed_origins([f"https://example.com:{port}"])
