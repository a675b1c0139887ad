"""Ed25519 signatures beside files: `FILE.sig` holds the 64 bytes over every byte of FILE.

A key is a file of the user's, as OpenSSH or OpenSSL writes it (`ssh-keygen -t ed25519`, `openssl genpkey -algorithm
ed25519`). Nothing here makes or keeps one, and other tools can check what is made here:
`openssl pkeyutl -verify -rawin -pubin -inkey PUBLIC.pem -sigfile FILE.sig -in FILE`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from rollout_local import limits
from rollout_local.errors import InputError, Refused

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

SUFFIX = ".sig"


def signature_of(file: Path) -> Path:
    """Where the signature of a file lies."""
    return file.with_name(file.name + SUFFIX)


def private_key(path: Path) -> Ed25519PrivateKey:
    """Read a key to sign with; `InputError` where it is none, or is kept under a passphrase."""
    kinds, serialization, errors = _library()
    data = _read(path, "key")
    read = serialization.load_ssh_private_key if b"OPENSSH" in data else serialization.load_pem_private_key
    try:
        key: Ed25519PrivateKey = read(data, password=None)
    except TypeError:
        _refuse(f"{path} is kept under a passphrase; give a key without one (`ssh-keygen -p` takes it off a copy)")
    except (ValueError, errors.UnsupportedAlgorithm) as error:
        _refuse(f"{path} is no private key ({error}); `ssh-keygen -t ed25519 -f KEY` makes one")
    fits: bool = isinstance(key, kinds.Ed25519PrivateKey)
    if not fits:
        _refuse(f"{path} is a key of another kind than ed25519; `ssh-keygen -t ed25519 -f KEY` makes one")
    return key


def public_key(path: Path) -> Ed25519PublicKey:
    """Read a key to check with: the `.pub` file of OpenSSH, or PEM. Raises `InputError`."""
    kinds, serialization, errors = _library()
    data = _read(path, "key")
    read = serialization.load_pem_public_key if b"-----BEGIN" in data else serialization.load_ssh_public_key
    try:
        key: Ed25519PublicKey = read(data)
    except (ValueError, errors.UnsupportedAlgorithm) as error:
        _refuse(f"{path} is no public key ({error}); give the .pub file of `ssh-keygen -t ed25519`")
    fits: bool = isinstance(key, kinds.Ed25519PublicKey)
    if not fits:
        _refuse(f"{path} is a public key of another kind than ed25519")
    return key


def sign(file: Path, key: Ed25519PrivateKey) -> Path:
    """Write the signature of a file beside it; where that is. Raises `InputError`."""
    place = signature_of(file)
    try:
        place.write_bytes(key.sign(file.read_bytes()))
    except OSError as error:
        _refuse(f"{place} cannot be written ({error.strerror or error})")
    return place


def require_signature(file: Path, key: Path) -> None:
    """`Refused` unless `FILE.sig` signs `file` by the owner of this public key; `InputError` without one."""
    *_, errors = _library()
    public, place = public_key(key), signature_of(file)
    if not place.is_file():
        _refuse(f"{file} is not signed: there is no {place}; ask its author for it, or leave --signed-by out")
    try:
        public.verify(_read(place, "signature"), _read(file, "signed file"))
    except errors.InvalidSignature as error:
        msg = (
            f"{place} is not a signature of {file} by the owner of {key}: one of them was changed, or another signed it"
        )
        raise Refused(msg) from error


def _read(path: Path, name: str) -> bytes:
    try:
        return limits.read(path, name)
    except limits.TooLarge as error:
        _refuse(f"{path} {error}")
    except OSError as error:
        _refuse(f"{path} cannot be read ({error.strerror or error})")


def _library() -> tuple[Any, Any, Any]:
    try:
        from cryptography import exceptions
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError:
        _refuse("signatures need the extra rollout-local[sign]; pip install 'rollout-local[sign]'")
    return ed25519, serialization, exceptions


def _refuse(message: str) -> NoReturn:
    raise InputError(message) from None
