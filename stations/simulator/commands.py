"""What both dialects do alike when the CSMS asks: local lists, profiles, firmware, logs."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import hashlib
import http.client
import logging
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from stations.simulator.limits import Profile
from stations.simulator.wire import Payload

if TYPE_CHECKING:
    from stations.simulator.station import Station

logger = logging.getLogger(__name__)

Progress = Callable[[str], Coroutine[Any, Any, None]]
"""Tells the CSMS how far a job has come."""


def clear_cache(station: Station, payload: Payload) -> Payload:
    """Forget the cached tokens (1.6 §5.4, 2.0.1 C11)."""
    station.token_cache.clear()
    return {"status": "Accepted"}


def data_transfer(station: Station, payload: Payload) -> Payload:
    """No vendor's extension is known (1.6 §5.6, 2.0.1 P01)."""
    if not isinstance(payload["vendorId"], str):
        raise TypeError("vendorId")
    return {"status": "UnknownVendorId"}


def update_local_list(station: Station, version: int, kind: str, entries: list[tuple[str, str | None]]) -> str:
    """Replace or change the local list; an entry without status is removed. Return the status."""
    if kind == "Differential" and version <= station.local_list_version:
        return "VersionMismatch"
    if kind == "Full":
        station.local_list = {}
    for token, status in entries:
        if status is None:
            station.local_list.pop(token.lower(), None)
        else:
            station.local_list[token.lower()] = status
    station.local_list_version = version
    return "Accepted"


def install_profile(station: Station, evse_id: int, raw: Payload) -> str:
    """Install a charging profile; return the status (1.6 §5.16, 2.0.1 K01)."""
    profile = Profile.read(evse_id, raw)
    evse = station.evse(evse_id)
    station_wide = profile.purpose in ("ChargePointMaxProfile", "ChargingStationMaxProfile")
    if (evse is None and evse_id != 0) or (station_wide and evse_id != 0):
        return "Rejected"
    if profile.purpose == "TxProfile":
        session = evse.session if evse else None
        known = (session.id, str(session.remote_id)) if session else ()
        if session is None or (profile.transaction is not None and profile.transaction not in known):
            return "Rejected"
    station.limits.install(profile)
    return "Accepted"


@dataclasses.dataclass(frozen=True)
class Certificate:
    """A root certificate that was installed."""

    kind: str
    hash_data: Payload

    @classmethod
    def of(cls, kind: str, pem: str) -> Certificate:
        """Name a certificate. The station reads no X.509: the hashes stand for the text as a whole."""
        digest = hashlib.sha256(pem.encode()).hexdigest()
        hashes = {"issuerNameHash": digest, "issuerKeyHash": digest[::-1], "serialNumber": digest[:16]}
        return cls(kind, {"hashAlgorithm": "SHA256", **hashes})


def install_certificate(station: Station, payload: Payload) -> Payload:
    """Keep a root certificate (2.0.1 M05)."""
    pem = payload["certificate"]
    if "BEGIN CERTIFICATE" not in pem:
        return {"status": "Rejected"}
    certificate = Certificate.of(payload["certificateType"], pem)
    if certificate not in station.certificates:
        station.certificates.append(certificate)
    return {"status": "Accepted"}


def delete_certificate(station: Station, payload: Payload) -> Payload:
    """Drop a root certificate (2.0.1 M04)."""
    kept = [known for known in station.certificates if known.hash_data != payload["certificateHashData"]]
    found = len(kept) < len(station.certificates)
    station.certificates = kept
    return {"status": "Accepted" if found else "NotFound"}


def certificate_signed(station: Station, payload: Payload) -> Payload:
    """The station never asked for a certificate, so it takes none (2.0.1 A02)."""
    return {"status": "Rejected"}


async def update_firmware(
    station: Station, location: str, delay_s: float, tell: Progress, *, steps: tuple[str, ...], rebooting: str | None
) -> None:
    """Go through an update: download, install, reboot with the new version, named after the file."""
    await station.clock.sleep(delay_s)
    for step in steps:
        await tell(step)
        await station.clock.sleep(station.timings.job_step_s)
    if station.misbehaviour.firmware_fails:
        await tell("InstallationFailed")
        return
    if rebooting is not None:
        await tell(rebooting)
    name = urlsplit(location).path.rsplit("/", 1)[-1]
    station.firmware = (name.rsplit(".", 1)[0] or location)[:50]
    await station.reboot("FirmwareUpdate", "Reboot")
    while not station.online:
        await station.clock.sleep(station.timings.tick_s)
    await tell("Installed")


async def upload_log(station: Station, location: str, name: str, tell: Progress) -> None:
    """Upload a log and tell how it went.

    Files go by HTTP PUT, and only to the host whose CSMS this is; towards any other place the station
    merely plays its part of the conversation.
    """
    await tell("Uploading")
    await station.clock.sleep(station.timings.job_step_s)
    target = urlsplit(location)
    done = True
    if target.scheme in ("http", "https") and target.hostname == urlsplit(station.url).hostname:
        text = f"{station.timestamp()} {station.plan.identity} firmware {station.firmware}: log\n"
        done = await asyncio.get_running_loop().run_in_executor(
            None, functools.partial(_put, location, name, text.encode())
        )
    await tell("Uploaded" if done else "UploadFailed")


def _put(location: str, name: str, body: bytes) -> bool:
    target = urlsplit(location)
    kind = http.client.HTTPSConnection if target.scheme == "https" else http.client.HTTPConnection
    path = (target.path or "/") + (name if target.path.endswith("/") else "")
    connection = kind(target.hostname or "", target.port, timeout=10)
    try:
        query = f"?{target.query}" if target.query else ""
        connection.request("PUT", path + query, body, {"Content-Type": "text/plain"})
        return connection.getresponse().status < 300
    except OSError as error:
        logger.info("log not uploaded: %s", error)
        return False
    finally:
        connection.close()
