"""Certificates for servers on loopback, made for the moment."""

from __future__ import annotations

import datetime
import os
import ssl
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)


@dataclass
class Pair:
    """Where a server finds its certificate and key; each `issue` makes new ones there."""

    certificate: Path
    key: Path
    serial: int = 0

    @property
    def settings(self) -> dict[str, str]:
        return {"tls_certificate_file": str(self.certificate), "tls_key_file": str(self.key)}

    def issue(self, *, days: float = 90, password: bytes | None = None) -> None:
        key, certificate = _made(days)
        self.serial = certificate.serial_number
        hidden = BestAvailableEncryption(password) if password else NoEncryption()
        _replace(self.key, _pem(key, hidden))
        _replace(self.certificate, certificate.public_bytes(Encoding.PEM))

    def issue_certificate_alone(self) -> None:
        """As a renewal that is halfway through: it belongs to another key."""
        _replace(self.certificate, _made(90)[1].public_bytes(Encoding.PEM))


def pair(folder: Path, **options: float) -> Pair:
    made = Pair(folder / "certificate.pem", folder / "key.pem")
    made.issue(**options)
    return made


def trusting(*certificates: Path) -> ssl.SSLContext:
    """A client that believes these, and checks the name too."""
    context = ssl.create_default_context()
    for certificate in certificates:
        context.load_verify_locations(certificate)
    return context


def _made(days: float) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "appliance of the tests")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=365))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
    )
    return key, builder.sign(key, hashes.SHA256())


def _pem(key: ec.EllipticCurvePrivateKey, hidden: KeySerializationEncryption) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, hidden)


def _replace(path: Path, data: bytes) -> None:
    """As certbot and others do: the new file under the old name at once."""
    new = path.with_suffix(".new")
    new.write_bytes(data)
    os.replace(new, path)
