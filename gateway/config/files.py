"""Reading the few small files that a configuration is made of, and remembering what stood in them."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypeAlias

from gateway.rules.documents import LARGEST

Contents: TypeAlias = Mapping[Path, str]
"""Each file with the digest of what stood in it, '' where it could not be read."""

ABSENT: Final = ""


def read_bytes(path: Path) -> bytes:
    """What stands in a file, cut just over 1 MiB. Raises OSError; also for what is no file and might never end."""
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "it is no file")
    with path.open("rb") as file:
        return file.read(LARGEST + 1)


def digest(raw: bytes) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(raw).hexdigest()


class Reader:
    """Reads what `${file:…}` names, relative to the configuration's folder, and notes the digests in `contents`."""

    def __init__(self, folder: Path, contents: dict[Path, str]) -> None:
        self._folder = folder
        self._contents = contents

    def text(self, name: str) -> str:
        """Raises OSError where there is no such file, ValueError where it is over 1 MiB or not UTF-8."""
        path = self._folder / name
        self._contents[path] = ABSENT
        raw = read_bytes(path)
        self._contents[path] = digest(raw)
        if len(raw) > LARGEST:
            raise ValueError("over 1 MiB")
        return raw.decode()
