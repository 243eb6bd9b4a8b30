"""The same service as one would write it first, for comparison: the ``ocpp`` package's routing and validation in
a Channels consumer, one ORM write per message, each in a transaction of its own.

``python -m config.bench.naive --port N`` serves it. It keeps less than Voltyard does (one row of its log per
message, no sessions, prices or pages) and asks for no password.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import logging
from typing import Any

import django

django.setup()

import uvicorn  # noqa: E402
from channels.generic.websocket import AsyncWebsocketConsumer  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.urls import re_path  # noqa: E402
from ocpp.routing import on  # noqa: E402
from ocpp.v16 import ChargePoint, call_result  # noqa: E402
from ocpp.v16.datatypes import IdTagInfo  # noqa: E402
from ocpp.v16.enums import Action, AuthorizationStatus, RegistrationStatus  # noqa: E402

from stations.models import Frame, Station  # noqa: E402

ACCEPTED = IdTagInfo(status=AuthorizationStatus.accepted)


class NaiveChargePoint(ChargePoint):  # type: ignore[misc]
    """The charger's side of the talk as the package's documentation shows it."""

    def __init__(self, station: Station, connection: Any) -> None:
        super().__init__(station.identity, connection)
        self.station = station

    async def _keep(self, action: Action, payload: dict[str, Any]) -> int:
        row = await Frame.objects.acreate(
            station=self.station,
            at=dt.datetime.now(dt.UTC),
            direction=Frame.Direction.IN,
            action=action.value,
            text=json.dumps(payload, default=str),
        )
        key: int = row.pk
        return key

    @on(Action.boot_notification)  # type: ignore[untyped-decorator]
    async def _boot(self, **payload: Any) -> Any:
        await self._keep(Action.boot_notification, payload)
        now = dt.datetime.now(dt.UTC).isoformat()
        return call_result.BootNotification(current_time=now, interval=300, status=RegistrationStatus.accepted)

    @on(Action.status_notification)  # type: ignore[untyped-decorator]
    async def _status(self, **payload: Any) -> Any:
        await self._keep(Action.status_notification, payload)
        return call_result.StatusNotification()

    @on(Action.authorize)  # type: ignore[untyped-decorator]
    async def _authorize(self, **payload: Any) -> Any:
        await self._keep(Action.authorize, payload)
        return call_result.Authorize(id_tag_info=ACCEPTED)

    @on(Action.start_transaction)  # type: ignore[untyped-decorator]
    async def _start(self, **payload: Any) -> Any:
        number = await self._keep(Action.start_transaction, payload)
        return call_result.StartTransaction(transaction_id=number, id_tag_info=ACCEPTED)

    @on(Action.meter_values)  # type: ignore[untyped-decorator]
    async def _meter(self, **payload: Any) -> Any:
        await self._keep(Action.meter_values, payload)
        return call_result.MeterValues()

    @on(Action.stop_transaction)  # type: ignore[untyped-decorator]
    async def _stop(self, **payload: Any) -> Any:
        await self._keep(Action.stop_transaction, payload)
        return call_result.StopTransaction(id_tag_info=ACCEPTED)


class NaiveConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]
    """One socket."""

    async def connect(self) -> None:
        """Let everybody in whose identity is known."""
        station = await Station.objects.aget(identity=self.scope["url_route"]["kwargs"]["identity"])
        self.charge_point = NaiveChargePoint(station, self)
        await self.accept("ocpp1.6")

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Leave everything to the package."""
        await self.charge_point.route_message(text_data)


application = ProtocolTypeRouter(
    {"websocket": URLRouter([re_path(r"^ocpp/(?P<identity>[^/]+)$", NaiveConsumer.as_asgi())])}
)

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    logging.getLogger("ocpp").setLevel(logging.WARNING)
    uvicorn.run(application, host="127.0.0.1", port=parser.parse_args().port, log_config=None, ws_ping_interval=None)
