"""The folder that is the broker of the embedded default."""

from __future__ import annotations

import threading
from pathlib import Path

from kombu import Connection

from config import broker

MESSAGES = 400
QUEUE = "a_queue_of_this_test"  # kombu remembers for good which queues a process has declared


def test_every_message_arrives_whole_and_in_order(tmp_path: Path) -> None:
    """A reader that looks while messages are being written."""
    for part in ("queue", "control", "processed"):
        (tmp_path / part).mkdir()
    options = {
        "data_folder_in": str(tmp_path / "queue"),
        "data_folder_out": str(tmp_path / "queue"),
        "control_folder": str(tmp_path / "control"),
        "processed_folder": str(tmp_path / "processed"),
        "polling_interval": 0.001,
    }

    def write() -> None:
        with Connection(f"{broker.SCHEME}://localhost", transport_options=options) as connection:
            queue = connection.SimpleQueue(QUEUE)
            for number in range(MESSAGES):
                queue.put({"number": number, "text": "x" * 2000})

    writer = threading.Thread(target=write)
    with Connection(f"{broker.SCHEME}://localhost", transport_options=options) as connection:
        queue = connection.SimpleQueue(QUEUE)
        writer.start()
        read = []
        for _number in range(MESSAGES):
            message = queue.get(timeout=10)
            read.append(message.payload["number"])
            message.ack()
        writer.join()
    assert read == list(range(MESSAGES))
    assert list((tmp_path / "queue").iterdir()) == []
