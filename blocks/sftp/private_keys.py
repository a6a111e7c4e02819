"""Private keys as people paste them into a form."""

from __future__ import annotations

import io

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    load_ssh_private_key,
)

from headway.blocks.transfer import TransferError

# Per kind of key: the class and the one text format in which paramiko reads it without fail. It knows no
# PKCS#8 at all, and stumbles over valid ECDSA keys in OpenSSH's format that other tools have written.
_PARAMIKO = (
    (Ed25519PrivateKey, paramiko.Ed25519Key, PrivateFormat.OpenSSH),
    (EllipticCurvePrivateKey, paramiko.ECDSAKey, PrivateFormat.TraditionalOpenSSL),
    (RSAPrivateKey, paramiko.RSAKey, PrivateFormat.TraditionalOpenSSL),
)


def load_private_key(pem: str, passphrase: str | None) -> paramiko.PKey:
    """An Ed25519, ECDSA or RSA key from its text: OpenSSH's format, PKCS#1 or PKCS#8, any line ends.

    A passphrase that the key does not need is ignored. Raises a permanent `TransferError`.
    """
    key = _parse(pem.replace("\r\n", "\n").strip().encode() + b"\n", passphrase)
    for kind, paramiko_class, text_format in _PARAMIKO:
        if isinstance(key, kind):
            text = key.private_bytes(Encoding.PEM, text_format, NoEncryption()).decode()
            return paramiko_class.from_private_key(io.StringIO(text))
    raise TransferError(f"{_UNREADABLE} This one is of another kind.", permanent=True)


_UNREADABLE = "The private key must be the PEM text of an Ed25519, ECDSA or RSA key."


def _parse(pem: bytes, passphrase: str | None) -> object:
    load = load_ssh_private_key if b"OPENSSH" in pem.split(b"\n", 1)[0] else load_pem_private_key
    try:
        try:
            return load(pem, passphrase.encode() if passphrase else None)
        except TypeError:
            if not passphrase:
                raise
            return load(pem, None)
    except TypeError as error:
        raise TransferError(
            "The private key is encrypted: store its passphrase in private_key_passphrase.", permanent=True
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise TransferError(
            f"The private key cannot be read. {_UNREADABLE} "
            "If it is encrypted, private_key_passphrase must be its own.",
            permanent=True,
        ) from error
