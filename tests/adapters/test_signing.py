from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters import _signing

BODY = b'{"action":"created"}'
# RFC 4231, test case 2
VECTOR = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"


def test_the_signature_is_the_published_one() -> None:
    assert _signing.signature(b"what do ya want for nothing?", "Jefe") == VECTOR


def test_the_signature_of_the_raw_body_fits() -> None:
    assert _signing.fits(_signing.signature(BODY, "secret"), BODY, "secret")


def test_a_prefix_is_part_of_the_signature() -> None:
    signed = _signing.signature(BODY, "secret")
    assert _signing.fits(f"sha256={signed}", BODY, "secret", "sha256=")
    assert not _signing.fits(signed, BODY, "secret", "sha256=")
    assert not _signing.fits(f"sha256={signed}", BODY, "secret")


def test_upper_case_and_spaces_around_say_the_same() -> None:
    assert _signing.fits(f" {_signing.signature(BODY, 'secret').upper()} ", BODY, "secret")


@pytest.mark.parametrize("body", [b"", BODY + b" ", BODY.replace(b"created", b"Created")])
def test_another_body_does_not_fit(body: bytes) -> None:
    assert not _signing.fits(_signing.signature(BODY, "secret"), body, "secret")


def test_another_secret_does_not_fit() -> None:
    assert not _signing.fits(_signing.signature(BODY, "secret"), BODY, "Secret")


def test_an_empty_secret_fits_nothing_not_even_its_own_signature() -> None:
    assert not _signing.fits(_signing.signature(BODY, ""), BODY, "")


def test_a_secret_outside_ascii_is_taken_as_utf_8() -> None:
    assert _signing.fits(_signing.signature(BODY, "비밀"), BODY, "비밀")


@settings(deadline=None)
@given(header=st.text(), body=st.binary(), secret=st.text(), prefix=st.sampled_from(["", "sha256="]))
def test_whatever_a_stranger_writes_is_refused_without_an_exception(
    header: str, body: bytes, secret: str, prefix: str
) -> None:
    assert not _signing.fits(prefix + header, body, secret, prefix)
    assert not _signing.fits(header + "\ud800ſé", body, secret + "\udc80", prefix)
