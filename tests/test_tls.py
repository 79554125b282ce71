"""What a client asks of TLS: verified unless it says otherwise, in words and no framework's objects."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import pytest

import wsfactory
from wsfactory.errors import OptionError
from wsfactory.tls import TLS, check_tls


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


@pytest.mark.parametrize("tls", [None, TLS(), 5.0])
def test_a_framework_may_have_something_of_its_own(tls: object) -> None:
    check_tls(tls, lambda given: isinstance(given, float), "a float")


@pytest.mark.parametrize("tls", [True, "roots.pem", TLS])
def test_anything_else_is_refused_with_what_is_allowed(tls: object) -> None:
    with pytest.raises(OptionError, match=r"tls takes a wsfactory\.TLS or a float"):
        check_tls(tls, lambda given: isinstance(given, float), "a float")


def test_its_name_is_public() -> None:
    assert wsfactory.TLS is TLS
