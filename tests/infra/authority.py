"""Certificates for tests, as cert-manager would issue them."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Authority:
    """Issues certificates, as cert-manager would."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")])
        self.certificate = self._sign(self.name, self.key, True, ())

    def into(self, folder: Path, hosts: list[str]) -> None:
        """tls.crt, tls.key and ca.crt, as in a Secret."""
        folder.mkdir(parents=True, exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0][:64])])
        certificate = self._sign(subject, key, False, tuple(hosts))
        text = serialization.Encoding.PEM
        (folder / "tls.crt").write_bytes(certificate.public_bytes(text))
        (folder / "tls.key").write_bytes(
            key.private_bytes(text, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )
        (folder / "ca.crt").write_bytes(self.certificate.public_bytes(text))

    def _sign(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, authority: bool, hosts: tuple[str, ...]
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        built = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(authority, None), True)
        )
        if hosts:
            names = [x509.DNSName(host) for host in hosts]
            built = built.add_extension(x509.SubjectAlternativeName(names), False)
        return built.sign(self.key, hashes.SHA256())
