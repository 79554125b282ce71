"""The opening handshake, the server's side (RFC 6455 section 4.2)."""

from __future__ import annotations

from wsfactory.handshake import accept_key


def test_the_accept_value_is_that_of_the_rfc():
    assert accept_key("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
