"""The broker of the embedded default: a folder, each message a file that appears whole.

Kombu's own folder transport makes a file first and fills it afterwards; a worker that looks in between
reads nothing, and ends.
"""

from __future__ import annotations

import threading
import time
import uuid
from pathlib import Path
from typing import Any

from kombu.transport import TRANSPORT_ALIASES, filesystem
from kombu.utils.json import dumps

SCHEME = "folder"

_binding = threading.Lock()  # one process has the folder


class Channel(filesystem.Channel):
    """Kombu's channel, writing in one step."""

    def _put(self, queue: str, payload: dict[str, Any], **kwargs: Any) -> None:  # type: ignore[override]
        name = f"{time.time_ns()}_{uuid.uuid4()}.{queue}.msg"  # read in the order of names
        _write(Path(self.data_folder_out) / name, dumps(payload))

    def _queue_bind(self, exchange: str, routing_key: str | None, pattern: str | None, queue: str | None) -> None:
        row = filesystem.exchange_queue_t(routing_key or "", pattern or "", queue or "")
        with _binding:
            bound = self.get_table(exchange)
            if row not in bound:
                _write(Path(self.control_folder) / f"{exchange}.exchange", dumps([row, *bound]))


class Transport(filesystem.Transport):
    """Kombu's transport with that channel."""

    Channel = Channel


def _write(file: Path, text: str) -> None:
    part = file.with_name(f"{file.name}.{uuid.uuid4()}.part")
    part.write_text(text)
    part.rename(file)


TRANSPORT_ALIASES[SCHEME] = "config.broker:Transport"
