"""What a client asks of TLS: verified unless it says otherwise, in words and no framework's objects."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import pytest

import wsfactory
from wsfactory.tls import TLS


def test_certificates_and_host_names_are_verified_unless_an_explicit_flag_says_otherwise() -> None:
    assert TLS().verify
    assert not TLS(verify=False).verify


def test_by_default_the_systems_roots_are_trusted_and_no_certificate_is_shown() -> None:
    tls = TLS()

    assert (tls.trustRoots, tls.certificate, tls.key, tls.serverName) == (None, None, None, None)


def test_it_does_not_change_under_those_who_share_it() -> None:
    tls = TLS(trustRoots="roots.pem")
    with pytest.raises(FrozenInstanceError):
        tls.verify = False  # type: ignore[misc]

    assert replace(tls, serverName="example.com") == TLS(trustRoots="roots.pem", serverName="example.com")


def test_its_name_is_public() -> None:
    assert wsfactory.TLS is TLS
