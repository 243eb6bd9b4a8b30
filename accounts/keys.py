"""Secrets: keyed digests of what is only compared, sealed envelopes of what must be read again.

Nothing here derives from SECRET_KEY, so rotating that locks no charger out.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import os

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings


def digest(secret: bytes, *, purpose: str) -> str:
    """Return ``key-id$hex``: HMAC-SHA256 of ``secret`` under the first credential key, bound to ``purpose``."""
    key_id = next(iter(settings.CREDENTIAL_KEYS))
    return f"{key_id}${_hmac(key_id, secret, purpose)}"


def digests(secret: bytes, *, purpose: str) -> list[str]:
    """Return the digests under every known key, for a look-up by value."""
    return [f"{key_id}${_hmac(key_id, secret, purpose)}" for key_id in settings.CREDENTIAL_KEYS]


def matches(secret: bytes, stored: str, *, purpose: str) -> bool:
    """Tell in constant time whether ``stored`` is a digest of ``secret``."""
    key_id, _, expected = stored.partition("$")
    if key_id not in settings.CREDENTIAL_KEYS:
        return False
    return hmac.compare_digest(_hmac(key_id, secret, purpose), expected)


def pseudonym(value: str, *, tenant: int) -> str:
    """Return a stable keyed name for a personal value of one operator: eight hex characters."""
    key = _pseudonym_key(tenant)
    return hmac.new(key, value.lower().encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:8]


def seal(text: str, *, purpose: str) -> str:
    """Return ``key-id$base64``: ``text`` under AES-256-GCM with the first data key."""
    key_id, key = next(iter(settings.DATA_KEYS.items()))
    nonce = os.urandom(12)
    sealed = AESGCM(key[:32]).encrypt(nonce, text.encode(), purpose.encode())
    return f"{key_id}${base64.b64encode(nonce + sealed).decode()}"


def unseal(sealed: str, *, purpose: str) -> str:
    """Return what `seal` was given. Raises KeyError where the key is gone, InvalidTag where it was changed."""
    key_id, _, body = sealed.partition("$")
    raw = base64.b64decode(body)
    return AESGCM(settings.DATA_KEYS[key_id][:32]).decrypt(raw[:12], raw[12:], purpose.encode()).decode()


def _hmac(key_id: str, secret: bytes, purpose: str) -> str:
    message = purpose.encode() + b"\0" + secret
    return hmac.new(settings.CREDENTIAL_KEYS[key_id], message, hashlib.sha256).hexdigest()


@functools.lru_cache(maxsize=1024)
def _pseudonym_key(tenant: int) -> bytes:
    first = next(iter(settings.CREDENTIAL_KEYS.values()))
    return hmac.new(first, f"pseudonym:{tenant}".encode(), hashlib.sha256).digest()
