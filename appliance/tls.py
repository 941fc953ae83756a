"""The server's certificate: read, judged, and read again when its files have changed.

Nothing here watches the files; `maintenance/certificates.py` does, and SIGHUP. Running connections
keep the certificate with which they began.
"""

from __future__ import annotations

import ssl
from datetime import UTC
from pathlib import Path
from typing import Any

from cryptography import x509

from appliance.errors import ConfigurationError

SOON_DAYS = 14
"""Who renews by themselves (ACME) do so a month before; with two weeks left it does not work."""

_CIPHERS = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
)
"""For TLS 1.2. Mozilla's "intermediate" (Server Side TLS 5.7) without DHE."""


class Tls:
    """A certificate with its key, and the context that servers listen with."""

    def __init__(self, certificate_file: Path, key_file: Path) -> None:
        """Raises ConfigurationError when the two cannot be used; one that has expired can."""
        self.certificate_file = certificate_file
        self._key_file = key_file
        self._seen = self._state_of_files()
        self._current, self.expires_at = _read(certificate_file, key_file)
        self.fault: str | None = None
        """Why the files as they are now are not used, but those before them."""
        self.context = _read(certificate_file, key_file)[0]
        self.context.sni_callback = self._hand_over

    def has_changed(self) -> bool:
        """Whether the files are others than those that were read last."""
        return self._state_of_files() != self._seen

    def reload(self) -> None:
        """Use the files as they are now for new connections.

        Raises ConfigurationError, and sets `fault`, when they cannot be used: then the certificate
        stays that was there before.
        """
        self._seen = self._state_of_files()
        try:
            self._current, self.expires_at = _read(self.certificate_file, self._key_file)
        except ConfigurationError as error:
            self.fault = " ".join(error.faults)
            raise
        self.fault = None

    def days_left(self, now: float) -> int:
        """Whole days until it expires; below 0 when it has."""
        return int((self.expires_at - now) // 86400)

    def warning(self, now: float) -> str | None:
        """What operators should hear of, with its mend."""
        if self.fault is not None:
            return f"The new certificate is not used, but the one before it. {self.fault}"
        days = self.days_left(now)
        if days < 0:
            return f"The certificate in {self.certificate_file} has expired. Renew it."
        if days < SOON_DAYS:
            return f"The certificate in {self.certificate_file} expires in {days} days. Renew it."
        return None

    def _hand_over(self, connection: Any, name: str | None, context: ssl.SSLContext) -> None:
        """Called in every handshake, also of clients that send no name (OpenSSL's
        SSL_CTX_set_tlsext_servername_callback)."""
        connection.context = self._current

    def _state_of_files(self) -> tuple[tuple[int, int, int] | None, ...]:
        return (_state(self.certificate_file), _state(self._key_file))


def _state(path: Path) -> tuple[int, int, int] | None:
    """None: it cannot be looked at."""
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_ino, found.st_size)


def _read(certificate_file: Path, key_file: Path) -> tuple[ssl.SSLContext, float]:
    """A context of both, and when the certificate expires. Raises ConfigurationError."""
    certificate = _bytes_of(certificate_file, "APPLIANCE_TLS_CERTIFICATE_FILE")
    _bytes_of(key_file, "APPLIANCE_TLS_KEY_FILE")
    try:
        found = x509.load_pem_x509_certificate(certificate)
    except ValueError as error:
        raise _fault(
            f"APPLIANCE_TLS_CERTIFICATE_FILE: {certificate_file} holds no certificate in PEM. Give "
            "the server's certificate, with those of the issuers between behind it."
        ) from error
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    try:
        # Without a password OpenSSL would ask for one on the terminal.
        context.load_cert_chain(certificate_file, key_file, password=lambda: "")
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
            mend = f"does not belong to the certificate in {certificate_file}. Give its own."
        else:
            reason = getattr(error, "reason", None) or str(error)
            mend = f"cannot be used ({reason}). Give the key in PEM, without a password."
        raise _fault(f"APPLIANCE_TLS_KEY_FILE: {key_file} {mend}") from error
    return context, found.not_valid_after_utc.astimezone(UTC).timestamp()


def _bytes_of(path: Path, setting: str) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise _fault(f"{setting}: there is no file {path}. Check the path.") from error
    except OSError as error:
        raise _fault(
            f"{setting}: {path} cannot be read ({error.strerror}). Let the user read it that runs "
            "the server."
        ) from error


def _fault(text: str) -> ConfigurationError:
    return ConfigurationError([text])
