"""What is wrong between a client and a broker that speak TLS, told by the codes of OpenSSL."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_MINE = ("ssl.certificate.location", "ssl.certificate.pem", "ssl.keystore.location")
# X509_V_ERR_… of OpenSSL.
_EXPIRED = 10
_OTHER_NAME = (62, 64)
_IDENTIFICATION, _BY_NAME = "ssl.endpoint.identification.algorithm", "https"
_CERTIFICATE = (
    "KAFKA_SSL_CERTIFICATE_LOCATION with KAFKA_SSL_KEY_LOCATION, or KAFKA_SSL_KEYSTORE_LOCATION"
)


def tls_fault(server: str, config: Mapping[str, Any], seconds: float) -> str | None:
    """In words, with the remedy; None when nothing is found, or TLS is not what is spoken.

    Args:
        server: `host:port`.
        config: settings of librdkafka.
        seconds: for each step.
    """
    protocol: str = config.get("security.protocol", "plaintext")
    if "ssl" not in protocol.lower():
        return None
    host, _, port = server.rpartition(":")
    host = host.strip("[]")
    try:
        context = _context(config)
        with (
            socket.create_connection((host, int(port)), timeout=seconds) as raw,
            context.wrap_socket(raw, server_hostname=host) as secure,
        ):
            return _after(secure)
    except ssl.SSLCertVerificationError as error:
        return _of_the_broker(error, host)
    except (ssl.SSLError, ConnectionResetError):
        return _of_ours(config)
    except OSError:
        return None


def _context(config: Mapping[str, Any]) -> ssl.SSLContext:
    place = str(config.get("ssl.ca.location", "probe"))
    named = None if place == "probe" else Path(place)
    context = ssl.create_default_context(
        cafile=str(named) if named is not None and named.is_file() else None,
        capath=str(named) if named is not None and named.is_dir() else None,
    )
    context.check_hostname = config.get(_IDENTIFICATION, _BY_NAME) == _BY_NAME
    certificate = config.get("ssl.certificate.location")
    if certificate is not None:
        with contextlib.suppress(OSError):  # librdkafka has the last word on files
            context.load_cert_chain(
                certificate, config.get("ssl.key.location"), config.get("ssl.key.password", "")
            )
    return context


def _after(connection: ssl.SSLSocket) -> str | None:
    """What a broker makes of our certificate it says after the greeting, or else nothing."""
    connection.settimeout(0.5)
    with contextlib.suppress(TimeoutError):
        connection.recv(1)
    return None


def _of_the_broker(error: ssl.SSLCertVerificationError, host: str) -> str:
    if error.verify_code == _EXPIRED:
        return "the broker's certificate has run out; it needs a new one"
    if error.verify_code in _OTHER_NAME:
        return (
            f"the broker's certificate is not for {host}; name the broker as its certificate does "
            "in KAFKA_BOOTSTRAP_SERVERS"
        )
    return (
        f"the broker's certificate is of an authority that is not known here "
        f"({error.verify_message}); KAFKA_SSL_CA_LOCATION must name that authority's certificate"
    )


def _of_ours(config: Mapping[str, Any]) -> str:
    if any(name in config for name in _MINE):
        return f"the broker refuses the certificate of this client ({_CERTIFICATE})"
    return f"the broker asks for a certificate of this client; set {_CERTIFICATE}"
