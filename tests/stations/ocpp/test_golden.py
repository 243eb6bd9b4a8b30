"""Every golden frame: what it means, how it is answered, how asks are put and their results read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stations.messages import NotExpressible
from stations.ocpp import frame, schemas
from stations.ocpp.versions import ADAPTERS, answer, inbound
from tests.stations.ocpp import golden


def adapter_of(path: Path) -> Any:
    return ADAPTERS[golden.SUBPROTOCOLS[path.parent.name]]


@pytest.mark.parametrize("path", golden.files(), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_frame(path: Path) -> None:
    form, adapter = golden.read(path), adapter_of(path)
    if "ask" in form:
        ask = golden.built(form["ask"])
        if "not_expressible" in form:
            with pytest.raises(NotExpressible, match=form["not_expressible"]):
                adapter.encode_ask(ask)
            return
        action, payload = adapter.encode_ask(ask)
        assert [action, payload] == frame.plain(form["call"])
        json.dumps(payload)
        schemas.check(adapter.version, action, "request", payload)
        if "result" in form:
            assert golden.shown(adapter.decode_result(ask, form["result"])) == form["outcome"]
        return

    found = inbound(adapter, frame.dump(form["frame"]))
    assert list(found.deviations) == form.get("deviations", [])
    if "error" in form:
        assert found.message is None
        assert found.answer is not None
        assert json.loads(found.answer)[:3] == [4, *form["error"]]
        return
    assert golden.shown(found.message) == form["message"], found.description
    if "reply" in form:
        sent = answer(adapter, found, golden.built(form["reply"]))
        assert frame.load(sent) == form["answer"]
        assert '": ' not in sent  # some stations search the raw text
        schemas.check(adapter.version, found.action, "response", frame.load(sent)[2])


def test_there_are_golden_frames_for_every_supported_message() -> None:
    """A message without an example is a message nobody has looked at."""
    for folder, subprotocol in golden.SUBPROTOCOLS.items():
        adapter = ADAPTERS[subprotocol]
        shown = {
            form["frame"][2]
            for path in golden.files()
            if path.parent.name == folder and "frame" in (form := golden.read(path)) and "message" in form
        }
        supported = {action for action in schemas.actions(adapter.version) if adapter.supported(action)}
        if folder == "v21":
            supported -= {action for action in supported if ADAPTERS["ocpp2.0.1"].supported(action)}
        assert supported - adapter.sends <= shown
