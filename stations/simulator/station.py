"""What every simulated station does, whatever protocol it speaks: life cycle, drivers, sessions, outbox.

``ocpp16.Station16`` and ``ocpp2.Station2`` put it into frames.
"""

from __future__ import annotations

import abc
import dataclasses
import datetime as dt
import logging
from collections.abc import Callable
from typing import Any

from stations.simulator.car import Car
from stations.simulator.commands import Certificate
from stations.simulator.evse import Evse, Grant, Reservation, Session, State
from stations.simulator.limits import Limits, Profile
from stations.simulator.misbehaviour import MeterFault
from stations.simulator.physics import Outlet, PowerState, Rating, Sample
from stations.simulator.plan import Token
from stations.simulator.uplink import Uplink
from stations.simulator.wire import CallRefused, CallTimedOut, LinkClosed, Payload

logger = logging.getLogger(__name__)

_POWER_STATES: dict[PowerState, State] = {
    "open": "Preparing",
    "charging": "Charging",
    "suspended_ev": "SuspendedEV",
    "suspended_evse": "SuspendedEVSE",
}


class Station(Uplink):
    """A station that runs until it is stopped: ``await station.run()``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.firmware = self.plan.firmware
        self.limits = Limits()
        self.local_list: dict[str, str] = {}
        self.local_list_version = 0
        self.token_cache: dict[str, str] = {}
        self.certificates: list[Certificate] = []
        self.evses = [self._build_evse(number) for number in range(1, self.plan.evses + 1)]
        self.remote_visitor: Callable[[Evse], None] | None = None
        """Called after a remote start at an empty bay: somebody brings a car."""

    def _build_evse(self, number: int) -> Evse:
        plan = self.plan
        outlet = Outlet(Rating(plan.kind, plan.power_w, plan.phases), plan.rng("meter", number), plan.register_wh)
        evse = Evse(number, outlet, MeterFault(self.misbehaviour.meter, plan.rng("fault", number)))
        evse.broken = self.misbehaviour.faulted_connector == number
        evse.state = evse.resting_state()
        return evse

    # What the dialects say.

    @abc.abstractmethod
    def status_word(self, evse: Evse) -> str:
        """Return the state of an EVSE in the version's own word."""

    @abc.abstractmethod
    def status_call(self, evse: Evse | None) -> tuple[str, Payload] | None:
        """Return the status of an EVSE, or of the whole station where the version has one."""

    @abc.abstractmethod
    def authorize_call(self, token: Token) -> tuple[str, Payload]:
        """Return the question whether a token may charge."""

    @abc.abstractmethod
    def authorize_status(self, reply: Payload) -> str:
        """Return the status out of the answer to ``authorize_call``."""

    @abc.abstractmethod
    def may_begin(self, evse: Evse) -> bool:
        """Whether what is known (cable, token) is enough to begin a session."""

    @abc.abstractmethod
    def ends_at_stop(self) -> bool:
        """Whether a stop ends the session, or only the departure of the car does."""

    @abc.abstractmethod
    def tell_begun(self, session: Session, trigger: str) -> None:
        """Queue the start of a session."""

    @abc.abstractmethod
    def tell_changed(self, session: Session, trigger: str) -> None:
        """Queue a change inside a session, where the version has such a message."""

    @abc.abstractmethod
    def tell_sampled(self, session: Session, sample: Sample, context: str) -> None:
        """Queue meter values of a session."""

    @abc.abstractmethod
    def tell_ended(self, session: Session, sample: Sample, trigger: str) -> None:
        """Queue the end of a session."""

    @abc.abstractmethod
    def idle_meter_call(self, evse: Evse, sample: Sample, context: str) -> tuple[str, Payload]:
        """Return meter values outside a session."""

    async def announce(self) -> None:
        """Tell the state of the station and of each EVSE."""
        for evse in (None, *self.evses):
            await self.send_status(evse)

    async def stop(self) -> None:
        """End the sessions, then leave."""
        for evse in self.evses:
            if evse.outlet.car is not None:
                self.unplug(evse)
        await super().stop()

    async def send_status(self, evse: Evse | None) -> None:
        """Tell the state of an EVSE, or of the station."""
        status = self.status_call(evse)
        if evse is not None:
            evse.told = self.status_word(evse)
        if status is not None:
            await self.tell(*status)

    async def sample_by_the_clock(self) -> None:
        """Send clock-aligned meter values, where the interval is not 0."""
        while True:
            interval_s = int(self.setting("ClockAlignedDataInterval"))
            if interval_s <= 0:
                await self.clock.sleep(60.0)
                continue
            await self.clock.sleep(interval_s - self.now().timestamp() % interval_s)
            for evse in self.evses:
                await self.send_meter(evse, "Sample.Clock")

    async def send_meter(self, evse: Evse, context: str) -> None:
        """Send meter values now: of the session, or of the idle meter."""
        if evse.session is not None:
            self.tell_sampled(evse.session, self._shown(evse.session), context)
        else:
            await self.tell(*self.idle_meter_call(evse, self.read_meter(evse), context))

    def read_meter(self, evse: Evse) -> Sample:
        """Read the meter of an EVSE, whoever uses it."""
        if evse.session is not None:
            return self._shown(evse.session)
        shown_wh = int(evse.fault.idle(evse.outlet.register_wh))
        return dataclasses.replace(evse.outlet.sample(), energy_wh=shown_wh)

    # Drivers.

    def evse(self, number: int) -> Evse | None:
        """Return the EVSE of that number."""
        return self.evses[number - 1] if 1 <= number <= len(self.evses) else None

    def find_session(self, key: object) -> Session | None:
        """Return the running session by its id of either side."""
        for evse in self.evses:
            if evse.session is not None and key in (evse.session.id, evse.session.remote_id):
                return evse.session
        return None

    def plug(self, evse: Evse, car: Car) -> None:
        """A driver puts the cable into the car. Raises ValueError where there is one already."""
        evse.outlet.plug(car)
        self._progress(evse, "CablePluggedIn")

    def unplug(self, evse: Evse) -> None:
        """The driver takes the cable out; a running session ends."""
        if evse.session is not None:
            self.end(evse.session, evse.session.reason or "EVDisconnected", "EVDeparted")
        evse.outlet.unplug()
        evse.grant = None
        self._settle(evse, "Finishing")

    async def present(self, evse: Evse, token: Token) -> bool:
        """A driver presents a token: it starts a session, or stops the one it started. Tell whether it did."""
        session = evse.session
        if session is not None and session.grant is not None:
            if session.grant.token == token and not session.stopped:
                self.stop_session(session, "Local", "StopAuthorized")
                return True
            return False
        if not self.can_start(evse, token) or await self.authorize(token) != "Accepted":
            return False
        if not self.can_start(evse, token):  # somebody was faster while the CSMS thought
            return False
        self.grant(evse, Grant(token))
        return True

    def grant(self, evse: Evse, grant: Grant) -> None:
        """Let somebody charge at an EVSE; without a cable in time the permission lapses."""
        evse.grant = grant
        if evse.session is not None:
            evse.session.grant = grant
        self._progress(evse, grant.trigger)
        if evse.outlet.car is None:
            self.spawn(self._lapse(evse, grant))

    def startable(self) -> Evse | None:
        """Return an EVSE where a session could begin, one with a waiting car first."""
        ready = [evse for evse in self.evses if evse.is_usable and evse.session is None and evse.grant is None]
        return min(ready, key=lambda evse: evse.outlet.car is None, default=None)

    def can_start(self, evse: Evse, token: Token) -> bool:
        """Whether this token could start a session at this EVSE now."""
        waits = evse.session is None or (evse.session.grant is None and not evse.session.stopped)
        reserved_for = evse.reservation.token.lower() if evse.reservation else token.value.lower()
        return evse.is_usable and waits and evse.grant is None and reserved_for == token.value.lower()

    async def start_remotely(
        self,
        evse: Evse,
        token: Token,
        *,
        profile: Payload | None = None,
        remote_start_id: int | None = None,
        ask: bool = False,
    ) -> None:
        """Start for a token that the CSMS named; ``ask`` authorises it first, ``profile`` limits the session."""
        if (ask and await self.authorize(token) != "Accepted") or not self.can_start(evse, token):
            return
        if profile is not None:
            self.limits.install(Profile.read(evse.id, profile))
        empty = evse.outlet.car is None
        self.grant(evse, Grant(token, remote_start_id))
        if empty and self.remote_visitor is not None:
            self.remote_visitor(evse)

    async def _lapse(self, evse: Evse, grant: Grant) -> None:
        await self.clock.sleep(float(self.setting("ConnectionTimeOut")))
        if evse.grant is grant and evse.outlet.car is None:
            if evse.session is not None:
                self.end(evse.session, "Timeout", "EVConnectTimeout")
            evse.grant = None
            self.limits.end_session(evse.id)
            self.set_state(evse, evse.resting_state())

    async def authorize(self, token: Token) -> str:
        """Ask the CSMS whether a token may charge; offline the local list and the cache decide."""
        known = token.value.lower()
        if self.online:
            try:
                status = self.authorize_status(await self.call(*self.authorize_call(token)))
            except CallRefused:
                return "Invalid"
            except (LinkClosed, CallTimedOut):
                logger.debug("%s: authorises offline", self.plan.identity)
            else:
                self.token_cache[known] = status
                return status
        if known in self.local_list:
            return self.local_list[known]
        if known in self.token_cache:
            return self.token_cache[known]
        return "Accepted" if self.setting("AllowOfflineTxForUnknownId") == "true" else "Invalid"

    def _progress(self, evse: Evse, trigger: str) -> None:
        """Go as far as cable and permission allow."""
        session = evse.session
        if session is None and self.may_begin(evse):
            session = self._begin(evse, trigger)
        elif session is not None:
            self.tell_changed(session, trigger)
        if session is None or evse.outlet.car is None:
            self.set_state(evse, "Preparing")
        elif session.grant is not None and not session.stopped:
            if not evse.outlet.closed:
                self._advance(session)
                evse.outlet.close()
            self._follow_power(session)
        else:
            self.set_state(evse, "Preparing")

    # Sessions.

    def _begin(self, evse: Evse, trigger: str) -> Session:
        shown = int(evse.fault.begin(evse.outlet.register_wh))
        session = Session(evse, evse.grant, at=self.now(), meter_start=shown)
        session.advanced_s = self.clock.seconds()
        if evse.reservation is not None:
            session.reservation_id = evse.reservation.id
            evse.reservation = None
        evse.session = session
        self.tally.sessions_started += 1
        self.tell_begun(session, trigger)
        self.spawn(self._watch(session))
        return session

    async def _watch(self, session: Session) -> None:
        """Move the physics on and sample the meter until the session is over."""
        sampled_s = self.clock.seconds()
        while not await self.clock.wait(session.over, self.timings.tick_s):
            self._advance(session)
            self._follow_power(session)
            interval_s = int(self.setting("MeterValueSampleInterval"))
            if interval_s > 0 and self.clock.seconds() - sampled_s >= interval_s:
                sampled_s = max(sampled_s + interval_s, self.clock.seconds() - interval_s)
                self.tell_sampled(session, self._shown(session), "Sample.Periodic")
            self._obey_session_limits(session)

    def _advance(self, session: Session) -> None:
        now_s = self.clock.seconds()
        seconds = now_s - session.advanced_s
        session.advanced_s = now_s
        outlet = session.evse.outlet
        outlet.limit = self.limits.limit_at(session.evse.id, self.now(), session.started_at)
        if outlet.power_w > 0.0:
            session.charging_s += seconds
        outlet.advance(seconds)

    def _follow_power(self, session: Session) -> None:
        """Tell when somebody else begins to hold the power back."""
        if session.stopped or session.ended_at is not None or session.evse.outlet.car is None:
            return
        state = _POWER_STATES[session.evse.outlet.state]
        self.set_state(session.evse, state)
        if state != session.told_power:
            session.told_power = state
            self.tell_changed(session, "ChargingStateChanged")

    def _obey_session_limits(self, session: Session) -> None:
        if session.stopped or session.ended_at is not None:
            return
        used_wh = session.evse.outlet.register_wh - session.register_start_wh
        if session.max_energy_wh is not None and used_wh >= session.max_energy_wh:
            self.stop_session(session, "EnergyLimitReached", "EnergyLimitReached")
        elif session.max_time_s is not None and (self.now() - session.started_at).total_seconds() >= session.max_time_s:
            self.stop_session(session, "TimeLimitReached", "TimeLimitReached")

    def _shown(self, session: Session, *, last: bool = False) -> Sample:
        """Read the meter as it shows itself: whole Wh, and wrong where it is broken."""
        self._advance(session)
        evse = session.evse
        sample = evse.outlet.sample()
        session.meter_shown = int(evse.fault.show(evse.outlet.register_wh, last=last))
        return dataclasses.replace(sample, energy_wh=session.meter_shown)

    def stop_session(self, session: Session, reason: str, trigger: str) -> None:
        """Stop the energy; the session ends now, or with the departure of the car where it is set up so."""
        if self.ends_at_stop() or session.evse.outlet.car is None:
            self.end(session, reason, trigger)
            return
        self._advance(session)
        session.evse.outlet.open()
        session.stopped = True
        session.reason = reason
        session.told_power = "Preparing"
        self.tell_changed(session, trigger)
        self.set_state(session.evse, "Finishing")

    def end(self, session: Session, reason: str, trigger: str) -> None:
        """End a session."""
        if session.ended_at is not None:
            return
        evse = session.evse
        sample = self._shown(session, last=True)
        evse.outlet.open()
        session.reason = reason
        session.ended_at = self.now()
        session.told_power = "Preparing"
        evse.session = None
        evse.grant = None
        self.tell_ended(session, sample, trigger)
        self.limits.end_session(evse.id)
        session.over.set()
        self.tally.sessions_ended += 1
        self.tally.energy_wh += session.meter_shown - session.meter_start
        self._settle(evse, "Finishing")

    def deauthorize(self, session: Session | None, status: str) -> None:
        """The CSMS refused the token of a session that runs already."""
        if session is None or session.ended_at is not None or session.stopped or status == "Accepted":
            return
        if session.grant is not None:
            self.token_cache[session.grant.token.value.lower()] = status
        if self.setting("StopTransactionOnInvalidId") == "true":
            self.stop_session(session, "DeAuthorized", "Deauthorized")

    # States.

    def set_state(self, evse: Evse, state: State) -> None:
        """Change the state of an EVSE and tell it, where the version has a word for the difference."""
        evse.state = state
        word = self.status_word(evse)
        if word != evse.told:
            evse.told = word
            status = self.status_call(evse)
            if status is not None:
                self.spawn(self.tell(*status))

    def _settle(self, evse: Evse, with_car: State) -> None:
        """Take up the state of an EVSE without a session; a scheduled change of availability becomes true."""
        if evse.operative_next is not None:
            evse.operative, evse.operative_next = evse.operative_next, None
        self.set_state(evse, with_car if evse.outlet.car is not None and evse.is_usable else evse.resting_state())

    def change_availability(self, evses: list[Evse], *, operative: bool) -> str:
        """Put EVSEs in or out of service, those in use once their session is over; return the status."""
        for evse in evses:
            evse.operative_next = operative

        async def apply() -> None:
            for evse in evses:
                if evse.session is None:
                    self._settle(evse, "Preparing" if evse.state == "Unavailable" else evse.state)

        self.afterwards(apply)
        waits = not operative and any(evse.session is not None for evse in evses)
        return "Scheduled" if waits else "Accepted"

    def reserve(self, evse: Evse, reservation_id: int, token: str, expires: dt.datetime) -> str:
        """Keep an EVSE for a token; return the status."""
        if evse.broken:
            return "Faulted"
        if not evse.operative:
            return "Unavailable"
        if not evse.is_free or (evse.reservation is not None and evse.reservation.id != reservation_id):
            return "Occupied"
        reservation = evse.reservation = Reservation(reservation_id, token, expires)
        self.afterwards(lambda: self._hold_reservation(evse, reservation))
        return "Accepted"

    async def _hold_reservation(self, evse: Evse, reservation: Reservation) -> None:
        self.set_state(evse, evse.resting_state())
        await self.clock.sleep((reservation.expires - self.now()).total_seconds())
        if evse.reservation is reservation and self.cancel_reservation(reservation.id):
            await self.reservation_expired(reservation)

    def cancel_reservation(self, reservation_id: int) -> bool:
        """Free a reserved EVSE; tell whether there was one."""
        for evse in self.evses:
            if evse.reservation is not None and evse.reservation.id == reservation_id:
                evse.reservation = None
                if evse.state == "Reserved":
                    self.set_state(evse, evse.resting_state())
                return True
        return False

    async def reservation_expired(self, reservation: Reservation) -> None:
        """Tell that nobody came, where the version has a message for it."""

    # Power and passwords.

    async def reboot(self, boot_reason: str, stop_reason: str, evses: list[Evse] | None = None) -> None:
        """End the sessions, deliver what waits, cut the connection and boot again."""
        for evse in evses or self.evses:
            if evse.session is not None:
                self.end(evse.session, stop_reason, "ResetCommand")
        if evses is not None:
            return
        await self.flush()
        for evse in self.evses:
            evse.grant = None
        self.restart(boot_reason)

    async def reconnect(self) -> None:
        """Hang up and dial again, with a new password for instance."""
        await self.flush()
        self.hang_up(self.timings.retry_first_s)
