"""Certificates of servers in a cluster, and the authority that they are trusted by."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_fsmredir.errors import PreflightError


@dataclass(frozen=True, slots=True, repr=False)
class Certificate:
    """A server's certificate, in PEM.

    Attributes:
        authority: Who signed it.
        chain: The certificate.
        key: Its private key.
    """

    authority: bytes
    chain: bytes
    key: bytes


def certificate_for(host: str) -> Certificate:
    """Return a new certificate of a new authority, whose own key is forgotten.

    Raises:
        PreflightError: The library is missing.
    """
    try:
        import trustme
    except ImportError:
        raise PreflightError(
            "trustme is missing, which makes certificates; install it:"
            " pip install 'pytest-fsmredir[kind]'"
        ) from None
    authority = trustme.CA()
    issued = authority.issue_cert(host)
    chain = b"".join(each.bytes() for each in issued.cert_chain_pems)
    return Certificate(authority.cert_pem.bytes(), chain, issued.private_key_pem.bytes())
