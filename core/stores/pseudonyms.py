"""What stands for a user where the id itself must not: a keyed hash, which nobody without the key can try ids against.

Keys rotate: append the new one and deploy, so that every instance knows it; then move it to the front. Hot copies are
then made anew under the new names. An old key goes when no tombstone was made with it (`erasures.key_name`).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

from core.errors import ConfigurationError, InvalidInput

MIN_KEY_BYTES = 32  # NIST SP 800-107: a key as long as the hash


class Pseudonyms:
    """Hashes of user ids: HMAC-SHA256 (RFC 2104) under each key, newest first, and without any key plain SHA-256.

    What was stored under an older key, or before there was one, is recognized.
    """

    def __init__(self, keys: Sequence[bytes] = ()) -> None:
        self._keys = tuple(keys)
        self.key_name = hashlib.sha256(b"name of " + self._keys[0]).hexdigest()[:16] if self._keys else ""

    def of(self, user_id: str) -> bytes:
        """32 bytes: what is stored from now on. Raises InvalidInput for half a surrogate."""
        return hmac.digest(self._keys[0], _bytes(user_id), "sha256") if self._keys else user_hash(user_id)

    def all_of(self, user_id: str) -> list[bytes]:
        """Everything that may have been stored for this user, the newest first. Raises as `of`."""
        told = _bytes(user_id)
        return [*(hmac.digest(key, told, "sha256") for key in self._keys), hashlib.sha256(told).digest()]


UNKEYED = Pseudonyms()


def user_hash(user_id: str) -> bytes:
    """SHA-256 of the id, as tombstones were before they had keys."""
    return hashlib.sha256(_bytes(user_id)).digest()


def _bytes(user_id: str) -> bytes:
    try:
        return user_id.encode()
    except UnicodeEncodeError as error:
        raise InvalidInput(f"not an id: {error}") from error


def pseudonyms(listed: str) -> Pseudonyms:
    """From the setting: keys separated by commas, the one in use first. Raises ConfigurationError for a short one."""
    keys = [key.strip().encode() for key in listed.split(",") if key.strip()]
    if any(len(key) < MIN_KEY_BYTES for key in keys):
        raise ConfigurationError(f"SONA_PRIVACY_KEYS holds a key of less than {MIN_KEY_BYTES} bytes")
    return Pseudonyms(keys)
