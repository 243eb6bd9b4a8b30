"""Charging sessions and their readings."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from accounts.models import Driver, IdToken, Operator, uuid7
from accounts.scoping import scoped
from stations.models import Connector, Evse, Site, Station


class ReviewReason(models.TextChoices):
    """Why a person should look. Those in `HOLDS` keep the bill back until somebody released it."""

    METER_BACKWARDS = "meter_backwards", _("The meter ran backwards")
    STOP_BEFORE_START = "stop_before_start", _("It ends before it starts")
    OVER_POWER = "over_power", _("More energy than the rated power allows")
    JUMP = "jump", _("The meter jumped")
    ROLLOVER_UNKNOWN = "rollover_unknown", _("The meter may have rolled over")
    IMPLAUSIBLE_TIME = "implausible_time", _("The station's clock was implausible")
    ORPHAN_STOP = "orphan_stop", _("Only the end arrived")
    SEQ_GAP = "seq_gap", _("Messages are missing")
    NO_READING = "no_reading", _("No usable meter reading")
    UNSIGNED = "unsigned_at_calibrated_site", _("No signed reading at a calibrated site")
    ESTIMATED_END = "estimated_end", _("The end was estimated")
    SUPERSEDED = "superseded", _("A new session began without an end")
    OFFLINE_REPLAY = "offline_replay", _("Reported after being offline")
    CLOCK_OFFSET = "clock_offset", _("The station's clock was off")
    SECOND_STOP = "second_stop", _("A second, different end arrived")
    TAG_DIFFERS = "tag_differs", _("Stopped with another token")
    TOKEN_REFUSED = "token_refused", _("The token was not accepted")
    WAIVED = "waived", _("Made free by a person")


HOLDS = frozenset(
    {
        ReviewReason.METER_BACKWARDS,
        ReviewReason.STOP_BEFORE_START,
        ReviewReason.OVER_POWER,
        ReviewReason.JUMP,
        ReviewReason.ROLLOVER_UNKNOWN,
        ReviewReason.IMPLAUSIBLE_TIME,
        ReviewReason.ORPHAN_STOP,
        ReviewReason.SEQ_GAP,
        ReviewReason.NO_READING,
        ReviewReason.UNSIGNED,
        ReviewReason.TOKEN_REFUSED,
    }
)


class TransactionNumber(models.Model):
    """Gives 1.6 transaction ids: one sequence for the installation, positive 32-bit, never reused."""

    id = models.AutoField(primary_key=True)


class ChargingSession(models.Model):
    """One car at one plug, from the first word of it to the last.

    Operator, site, zone and currency are copied at the start. ``energy_wh``, ``power_w`` and ``soc_percent``
    are the live summary, written once per ingest batch. ``settle_after`` is when an ended session may be
    billed: later than its end where that end was estimated and the true one may still come. ``facts`` is
    frozen at the end: pricing reads nothing else.
    """

    class Status(models.TextChoices):
        ACTIVE = "active", _("Charging now")
        ENDED = "ended", _("Ended")

    uuid = models.UUIDField(default=uuid7, unique=True, editable=False)
    operator = models.ForeignKey(Operator, models.PROTECT, related_name="sessions")
    site = models.ForeignKey(Site, models.PROTECT, related_name="sessions")
    station = models.ForeignKey(Station, models.PROTECT, related_name="sessions")
    evse = models.ForeignKey(Evse, models.PROTECT, null=True, related_name="sessions")
    connector = models.ForeignKey(Connector, models.PROTECT, null=True, related_name="sessions")
    driver = models.ForeignKey(Driver, models.PROTECT, null=True, blank=True, related_name="sessions")
    token = models.ForeignKey(IdToken, models.PROTECT, null=True, blank=True, related_name="sessions")
    token_shown = models.CharField(max_length=255, blank=True)
    time_zone = models.CharField(max_length=64)
    currency = models.CharField(max_length=3)

    transaction_ref = models.CharField(max_length=64)
    start_key = models.CharField(max_length=64)
    generation = models.PositiveIntegerField(default=0)
    protocol = models.CharField(max_length=8)
    status = models.CharField(max_length=6, choices=Status, default=Status.ACTIVE)
    version = models.PositiveIntegerField(default=0)
    charging_state = models.CharField(max_length=14, blank=True)
    token_status = models.CharField(max_length=20, blank=True)
    remote_start_id = models.IntegerField(null=True, blank=True)

    started_at = models.DateTimeField()
    start_received_at = models.DateTimeField()
    start_raw = models.CharField(max_length=64, blank=True)
    stopped_at = models.DateTimeField(null=True, blank=True)
    stop_received_at = models.DateTimeField(null=True, blank=True)
    stop_raw = models.CharField(max_length=64, blank=True)
    stop_reason = models.CharField(max_length=40, blank=True)

    meter_start_wh = models.DecimalField(max_digits=15, decimal_places=3, null=True)
    meter_stop_wh = models.DecimalField(max_digits=15, decimal_places=3, null=True)
    meter_last_wh = models.DecimalField(max_digits=15, decimal_places=3, null=True)
    energy_wh = models.DecimalField(max_digits=15, decimal_places=3, default=0)
    power_w = models.DecimalField(max_digits=12, decimal_places=1, null=True)
    soc_percent = models.DecimalField(max_digits=5, decimal_places=1, null=True)
    last_reading_at = models.DateTimeField(null=True, blank=True)
    energy_changed_at = models.DateTimeField(null=True, blank=True)

    seq_start = models.IntegerField(null=True)
    seq_end = models.IntegerField(null=True)
    settle_after = models.DateTimeField(null=True, blank=True)

    review = models.JSONField(default=list)
    released_at = models.DateTimeField(null=True, blank=True)
    released_by = models.CharField(max_length=160, blank=True)
    facts = models.JSONField(null=True)
    facts_digest = models.CharField(max_length=64, blank=True)

    objects = scoped(site_path="site_id")

    class Meta:
        ordering = ["-started_at", "-id"]
        constraints = [
            models.UniqueConstraint(fields=["station", "transaction_ref"], name="transaction_once"),
            models.UniqueConstraint(fields=["station", "start_key", "generation"], name="start_once"),
        ]
        indexes = [
            models.Index(fields=["operator", "-started_at", "-id"], name="session_by_operator"),
            models.Index(fields=["station", "-started_at"], name="session_by_station"),
            models.Index(fields=["station"], name="session_active", condition=models.Q(status="active")),
            models.Index(fields=["driver", "-started_at"], name="session_by_driver"),
            models.Index(fields=["operator", "stopped_at"], name="session_by_end"),
            models.Index(fields=["site", "stopped_at"], name="session_by_site_end"),
            models.Index(fields=["token", "-started_at"], name="session_by_token"),
        ]
        verbose_name = _("session")

    def __str__(self) -> str:
        return f"{self.station} · {self.transaction_ref}"

    @property
    def is_open(self) -> bool:
        """Whether the end has not been reported."""
        return self.status == self.Status.ACTIVE

    @property
    def is_held(self) -> bool:
        """Whether its bill waits for a person."""
        return self.released_at is None and any(reason in HOLDS for reason in self.review)


class MeterReading(models.Model):
    """One MeterValue as one typed row, written in bulk by ingest.

    UNIQUE(session, at, digest) makes a repeated frame harmless. Range-partitioned by ``at`` on
    PostgreSQL, so the primary key there is made of the unique key; ``pk`` is the three columns together.
    """

    pk = models.CompositePrimaryKey("session_id", "at", "digest")
    session = models.ForeignKey(ChargingSession, models.DO_NOTHING, related_name="readings", db_constraint=False)
    at = models.DateTimeField()
    digest = models.CharField(max_length=16)
    received_at = models.DateTimeField()
    context = models.CharField(max_length=24, blank=True)
    energy_wh = models.DecimalField(max_digits=15, decimal_places=3, null=True)
    power_w = models.DecimalField(max_digits=12, decimal_places=1, null=True)
    current_a = models.DecimalField(max_digits=9, decimal_places=2, null=True)
    current_l1 = models.DecimalField(max_digits=9, decimal_places=2, null=True)
    current_l2 = models.DecimalField(max_digits=9, decimal_places=2, null=True)
    current_l3 = models.DecimalField(max_digits=9, decimal_places=2, null=True)
    voltage_v = models.DecimalField(max_digits=9, decimal_places=2, null=True)
    voltage_l1 = models.DecimalField(max_digits=9, decimal_places=2, null=True)
    voltage_l2 = models.DecimalField(max_digits=9, decimal_places=2, null=True)
    voltage_l3 = models.DecimalField(max_digits=9, decimal_places=2, null=True)
    soc_percent = models.DecimalField(max_digits=5, decimal_places=1, null=True)
    temperature_c = models.DecimalField(max_digits=7, decimal_places=2, null=True)
    charging_state = models.CharField(max_length=14, blank=True)
    other = models.JSONField(null=True)

    objects = scoped("session__operator_id", "session__site_id")

    class Meta:
        ordering = ["at"]


class UnassignedReading(models.Model):
    """Readings no session could be found for; kept so that nothing a charger said is lost."""

    station = models.ForeignKey(Station, models.CASCADE, related_name="+")
    evse = models.PositiveSmallIntegerField(null=True)
    transaction_ref = models.CharField(max_length=64, blank=True)
    at = models.DateTimeField()
    digest = models.CharField(max_length=16)
    received_at = models.DateTimeField()
    reading = models.JSONField()

    objects = scoped("station__operator_id", "station__site_id")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["station", "at", "digest"], name="unassigned_once")]


class SessionEvidence(models.Model):
    """The frames a bill rests on, kept beyond the journal's retention."""

    session = models.ForeignKey(ChargingSession, models.CASCADE, related_name="evidence")
    kind = models.CharField(max_length=12)  # start, stop, event, signed
    at = models.DateTimeField()
    seq_no = models.IntegerField(null=True)
    digest = models.CharField(max_length=32)
    text = models.TextField()

    objects = scoped("session__operator_id", "session__site_id")

    class Meta:
        ordering = ["at", "id"]
        constraints = [models.UniqueConstraint(fields=["session", "kind", "digest"], name="evidence_once")]


class AuthorizationAttempt(models.Model):
    """A token shown at a station and what was answered: the log of refusals and of wrong PINs."""

    operator = models.ForeignKey(Operator, models.CASCADE, related_name="+")
    station = models.ForeignKey(Station, models.CASCADE, related_name="authorizations")
    token = models.ForeignKey(IdToken, models.SET_NULL, null=True, related_name="authorizations")
    shown = models.CharField(max_length=255)
    is_pin = models.BooleanField(default=False)
    status = models.CharField(max_length=20)
    reason = models.CharField(max_length=40, blank=True)
    at = models.DateTimeField()

    objects = scoped("operator_id", "station__site_id")

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["station", "-at"], name="auth_by_station"),
            models.Index(fields=["operator", "-at"], name="auth_by_operator"),
        ]
