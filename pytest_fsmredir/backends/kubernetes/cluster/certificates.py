"""Make certificates for servers in a cluster, each with its own certificate authority."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_fsmredir.errors import PreflightError


@dataclass(frozen=True, slots=True, repr=False)
class Certificate:
    """A server's certificate, in PEM.

    Attributes:
        authority: The certificate of the authority that signed it.
        chain: The server's certificate chain.
        key: Its private key.
    """

    authority: bytes
    chain: bytes
    key: bytes


def certificate_for(host: str) -> Certificate:
    """Return a new certificate of a new authority, and discard the authority's key.

    Raises:
        PreflightError: The library trustme is missing.
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
