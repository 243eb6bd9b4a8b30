"""The broker of the embedded default: a folder, each message a file that appears whole.

Kombu's own folder transport makes a file first and fills it afterwards; a worker that looks in between
reads nothing, and ends.
"""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import Any

from kombu.transport import TRANSPORT_ALIASES, filesystem
from kombu.utils.json import dumps

SCHEME = "folder"


class Channel(filesystem.Channel):
    """Kombu's channel, writing in one step."""

    def _put(self, queue: str, payload: dict[str, Any], **kwargs: Any) -> None:  # type: ignore[override]
        name = f"{time.time_ns()}_{uuid.uuid4()}"  # read in the order of names
        folder = Path(self.data_folder_out)
        part = folder / f"{name}.part"
        part.write_text(dumps(payload))
        part.rename(folder / f"{name}.{queue}.msg")


class Transport(filesystem.Transport):
    """Kombu's transport with that channel."""

    Channel = Channel


TRANSPORT_ALIASES[SCHEME] = "config.broker:Transport"
