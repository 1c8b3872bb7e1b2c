"""What signing takes from `cryptography`, in one import that fails when it is not installed."""

from cryptography.exceptions import InvalidSignature as InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey as Ed25519PrivateKey,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey as Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding as Encoding
from cryptography.hazmat.primitives.serialization import PublicFormat as PublicFormat
from cryptography.hazmat.primitives.serialization import (
    load_pem_private_key as load_pem_private_key,
)
from cryptography.hazmat.primitives.serialization import load_pem_public_key as load_pem_public_key
