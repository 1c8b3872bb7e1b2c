"""Signatures over heads: Ed25519 (RFC 8032), with keys in PEM as openssl makes them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from etf_pipeline.errors import SettingsError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from etf_pipeline.events.settings import EventSettings

_KEY, _PASSPHRASE = "EVENT_SIGNING_KEY", "EVENT_SIGNING_PASSPHRASE"
_MAKE = "make one with `openssl genpkey -algorithm ed25519 -out key.pem`"
_PUBLIC = "take the public one with `openssl pkey -in key.pem -pubout -out public.pem`"


class Signer(NamedTuple):
    """A key that signs: its fingerprint, and what makes 64 bytes of a text."""

    key: str
    sign: Callable[[bytes], bytes]


class Verifier(NamedTuple):
    """A public key: its fingerprint, and whether a signature is of a text and by this key."""

    key: str
    verify: Callable[[bytes, bytes], bool]


def load_signer(settings: EventSettings) -> Signer | None:
    """The key that heads are signed with; None when none is set.

    Raises:
        SettingsError: it cannot be used; names file and remedy.
    """
    path = settings.event_signing_key
    if path is None:
        return None
    secret = settings.event_signing_passphrase
    phrase = None if secret is None else secret.get_secret_value().encode()
    pem = _read(path, _KEY)
    crypto = _library()
    try:
        key = crypto.load_pem_private_key(pem, phrase)
    except TypeError:  # one was given and not needed, or needed and not given
        wrong = "is not encrypted; unset" if phrase else "is encrypted; set"
        raise SettingsError(f"{_KEY}={path}: the key {wrong} {_PASSPHRASE}") from None
    except Exception:
        why = f", or {_PASSPHRASE} is not its passphrase" if phrase else ""
        raise SettingsError(f"{_KEY}={path}: is no private key in PEM{why}; {_MAKE}") from None
    if not isinstance(key, crypto.Ed25519PrivateKey):
        raise SettingsError(f"{_KEY}={path}: is no Ed25519 key; {_MAKE}")
    return Signer(_fingerprint(crypto, key.public_key()), key.sign)


def load_verifier(path: Path) -> Verifier:
    """A public key in PEM.

    Raises:
        SettingsError: it is none.
    """
    pem = _read(path, "--key")
    crypto = _library()
    try:
        key = crypto.load_pem_public_key(pem)
    except Exception:
        raise SettingsError(f"--key {path}: is no public key in PEM; {_PUBLIC}") from None
    if not isinstance(key, crypto.Ed25519PublicKey):
        raise SettingsError(f"--key {path}: is no Ed25519 key; {_PUBLIC}")

    def verify(text: bytes, signature: bytes) -> bool:
        try:
            key.verify(signature, text)
        except crypto.InvalidSignature:
            return False
        return True

    return Verifier(_fingerprint(crypto, key), verify)


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsError(
            f"{what}={path}: cannot be read ({error.strerror}); put the key there, and let the "
            "user that records events read it"
        ) from None


def _fingerprint(crypto: Any, key: Ed25519PublicKey) -> str:
    form = crypto.PublicFormat.SubjectPublicKeyInfo
    return hashlib.sha256(key.public_bytes(crypto.Encoding.DER, form)).hexdigest()


def _library() -> Any:
    """What is needed of `cryptography`.

    Raises:
        SettingsError: it is not installed.
    """
    try:
        from etf_pipeline.events.proof import keys
    except ImportError as error:
        if (error.name or "").partition(".")[0] == "etf_pipeline":
            raise
        raise SettingsError(
            f"signatures need {error.name}: pip install 'etf_pipeline[sign]'"
        ) from None
    return keys
