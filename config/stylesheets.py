"""Storage of the collected static files: hashed and compressed names, and one file per linked stylesheet.

In development a page links ``css/voltyard.css`` or ``css/driver.css``, which import their parts. Collected for
production the parts stand inside, so that a first visit fetches one stylesheet instead of twenty.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from django.core.files.base import ContentFile
from whitenoise.storage import CompressedManifestStaticFilesStorage

ENTRIES = ("css/voltyard.css", "css/driver.css")
_IMPORT = re.compile(r'@import "([^"]+)" layer\((\w+)\);')


class BundledStorage(CompressedManifestStaticFilesStorage):  # type: ignore[misc]
    """WhiteNoise's storage, after the imports of each entry stylesheet were put in its place."""

    def post_process(self, paths: dict[str, Any], dry_run: bool = False, **options: Any) -> Iterator[Any]:
        """Bundle, then hash and compress as ever."""
        if not dry_run:
            for entry in ENTRIES:
                if entry in paths:
                    text = _IMPORT.sub(lambda match: self._layer(paths, *match.groups()), _read(paths, entry))
                    self.delete(entry)
                    self.save(entry, ContentFile(text.encode()))
                    paths[entry] = (self, entry)
        yield from super().post_process(paths, dry_run, **options)

    @staticmethod
    def _layer(paths: dict[str, Any], part: str, layer: str) -> str:
        # Parts in a folder name no files, so their addresses need no rewriting.
        return f"@layer {layer} {{\n{_read(paths, f'css/{part}')}}}"


def _read(paths: dict[str, Any], name: str) -> str:
    storage, path = paths[name]
    with storage.open(path) as file:
        return str(file.read().decode())
