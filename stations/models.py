"""Sites, stations, what they report, what we asked of them, and the log of the talk."""

from __future__ import annotations

import datetime as dt
import secrets

from django.core.validators import RegexValidator
from django.db import models
from django.db.models.functions import Lower
from django.utils.translation import gettext_lazy as _

from accounts.models import Operator, User, uuid7
from accounts.scoping import scoped

LABEL_ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"  # no 0/O, 1/I: labels are read aloud and typed
ONLINE_LEASE = dt.timedelta(seconds=20)


def new_label() -> str:
    """Return eight random characters for the sticker on a station."""
    return "".join(secrets.choice(LABEL_ALPHABET) for _ in range(8))


class Site(models.Model):
    """A place with one grid connection, one zone and one country."""

    uuid = models.UUIDField(default=uuid7, unique=True, editable=False)
    operator = models.ForeignKey(Operator, models.PROTECT, related_name="sites")
    name = models.CharField(_("name"), max_length=120)
    time_zone = models.CharField(_("time zone"), max_length=64)
    country = models.CharField(_("country"), max_length=2, validators=[RegexValidator(r"^[A-Z]{2}$")])
    address = models.CharField(_("address"), max_length=200, blank=True)
    city = models.CharField(_("city"), max_length=80, blank=True)
    latitude = models.DecimalField(_("latitude"), max_digits=9, decimal_places=6, null=True, blank=True)
    longitude = models.DecimalField(_("longitude"), max_digits=9, decimal_places=6, null=True, blank=True)
    power_limit_w = models.PositiveIntegerField(_("grid limit"), null=True, blank=True, help_text=_("Watts"))
    retired_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = scoped(site_path="id")

    class Meta:
        ordering = ["name"]
        verbose_name = _("site")

    def __str__(self) -> str:
        return self.name


class Gateway(models.Model):
    """A process that holds charger sockets; its lease says that it lives."""

    id = models.CharField(max_length=40, primary_key=True)
    lease_at = models.DateTimeField()
    started_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.id


class Station(models.Model):
    """A charging station. ``epoch`` rises with every accepted socket and fences what older ones still say."""

    class Registration(models.TextChoices):
        ACCEPTED = "accepted", _("Accepted")
        PENDING = "pending", _("Waiting for approval")
        REJECTED = "rejected", _("Rejected")

    uuid = models.UUIDField(default=uuid7, unique=True, editable=False)
    operator = models.ForeignKey(Operator, models.PROTECT, related_name="stations")
    site = models.ForeignKey(Site, models.PROTECT, related_name="stations")
    identity = models.CharField(_("identity"), max_length=48, unique=True)
    name = models.CharField(_("name"), max_length=120)
    label = models.CharField(max_length=8, unique=True, default=new_label)
    registration = models.CharField(max_length=8, choices=Registration, default=Registration.ACCEPTED)
    security_profile = models.PositiveSmallIntegerField(_("security profile"), default=1)
    credential = models.CharField(max_length=120, blank=True)
    default_subprotocol = models.CharField(_("version without a subprotocol header"), max_length=12, blank=True)
    ping_seconds = models.PositiveSmallIntegerField(null=True, blank=True)
    compression = models.BooleanField(default=True)
    max_power_w = models.PositiveIntegerField(_("rated power"), null=True, blank=True, help_text=_("Watts"))

    vendor = models.CharField(max_length=255, blank=True)
    model = models.CharField(max_length=255, blank=True)
    serial_number = models.CharField(max_length=255, blank=True)
    firmware = models.CharField(max_length=255, blank=True)
    iccid = models.CharField(max_length=255, blank=True)
    imsi = models.CharField(max_length=255, blank=True)
    meter_type = models.CharField(max_length=255, blank=True)
    meter_serial = models.CharField(max_length=255, blank=True)

    epoch = models.BigIntegerField(default=0)
    gateway = models.CharField(max_length=40, blank=True)
    protocol = models.CharField(max_length=8, blank=True)
    connected_at = models.DateTimeField(null=True, blank=True)
    disconnected_at = models.DateTimeField(null=True, blank=True)
    booted_at = models.DateTimeField(null=True, blank=True)
    last_seen_at = models.DateTimeField(null=True, blank=True)
    clock_offset_s = models.IntegerField(null=True, blank=True)

    retired_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = scoped(site_path="site_id")

    class Meta:
        ordering = ["identity"]
        constraints = [models.UniqueConstraint(Lower("identity"), name="identity_without_case")]
        indexes = [
            models.Index(fields=["operator", "identity"], name="station_by_operator"),
            models.Index(fields=["site"], name="station_by_site"),
        ]
        verbose_name = _("station")

    def __str__(self) -> str:
        return self.name or self.identity

    @property
    def is_connected(self) -> bool:
        """Whether a gateway holds its socket, as far as this row knows (see `is_online`)."""
        return bool(self.gateway)


class Evse(models.Model):
    """One place at a station that serves one car at a time. 1.6 connectorId n is EVSE n."""

    station = models.ForeignKey(Station, models.CASCADE, related_name="evses")
    number = models.PositiveSmallIntegerField()
    max_power_w = models.PositiveIntegerField(null=True, blank=True)

    objects = scoped("station__operator_id", "station__site_id")

    class Meta:
        ordering = ["number"]
        constraints = [models.UniqueConstraint(fields=["station", "number"], name="evse_once")]

    def __str__(self) -> str:
        return f"{self.station} · {self.number}"


class Connector(models.Model):
    """A plug. ``status`` is one spelling for every version; ``since`` is when it began."""

    evse = models.ForeignKey(Evse, models.CASCADE, related_name="connectors")
    number = models.PositiveSmallIntegerField()
    type = models.CharField(max_length=24, blank=True)
    status = models.CharField(max_length=14, blank=True)
    error_code = models.CharField(max_length=50, blank=True)
    vendor_error_code = models.CharField(max_length=255, blank=True)
    info = models.CharField(max_length=255, blank=True)
    since = models.DateTimeField(null=True, blank=True)
    reported_at = models.DateTimeField(null=True, blank=True)

    objects = scoped("evse__station__operator_id", "evse__station__site_id")

    class Meta:
        ordering = ["evse__number", "number"]
        constraints = [models.UniqueConstraint(fields=["evse", "number"], name="connector_once")]

    def __str__(self) -> str:
        return f"{self.evse} · {self.number}"


class StatusChange(models.Model):
    """History of a connector's state, for availability figures."""

    connector = models.ForeignKey(Connector, models.CASCADE, related_name="changes")
    status = models.CharField(max_length=14)
    error_code = models.CharField(max_length=50, blank=True)
    at = models.DateTimeField()
    received_at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["connector", "-at"], name="status_history")]


class Setting(models.Model):
    """A configuration key (1.6) or variable (2.x) as the station last reported it."""

    station = models.ForeignKey(Station, models.CASCADE, related_name="settings")
    component = models.CharField(max_length=120, blank=True)
    key = models.CharField(max_length=120)
    value = models.TextField(null=True)
    readonly = models.BooleanField(default=False)
    reported_at = models.DateTimeField()

    objects = scoped("station__operator_id", "station__site_id")

    class Meta:
        ordering = ["component", "key"]
        constraints = [models.UniqueConstraint(fields=["station", "component", "key"], name="setting_once")]


class Command(models.Model):
    """Something asked of a station: one row from the click to what was seen of it.

    ``command`` and ``arguments`` as asked (empty for a raw call), ``action`` and ``payload`` as encoded
    at sending. ``status`` never goes back; ``effect`` is what was observed afterwards.
    """

    class Status(models.TextChoices):
        QUEUED = "queued", _("Waiting")
        SENT = "sent", _("Sent")
        ACCEPTED = "accepted", _("Accepted")
        REJECTED = "rejected", _("Rejected")
        ERROR = "error", _("Error")
        TIMED_OUT = "timed_out", _("No answer")
        REFUSED = "refused", _("Not sent")
        EXPIRED = "expired", _("Expired")

    FINAL = (
        Status.ACCEPTED,
        Status.REJECTED,
        Status.ERROR,
        Status.TIMED_OUT,
        Status.REFUSED,
        Status.EXPIRED,
    )

    class Effect(models.TextChoices):
        NONE = "", ""
        PENDING = "pending", _("Waiting for the effect")
        OBSERVED = "observed", _("Seen")
        NOT_OBSERVED = "not_observed", _("Not seen")

    uuid = models.UUIDField(default=uuid7, unique=True, editable=False)
    station = models.ForeignKey(Station, models.CASCADE, related_name="commands")
    parent = models.ForeignKey("self", models.CASCADE, null=True, blank=True, related_name="children")
    command = models.CharField(max_length=32, blank=True)
    arguments = models.JSONField(default=dict)
    action = models.CharField(max_length=48, blank=True)
    payload = models.JSONField(null=True, blank=True)
    status = models.CharField(max_length=10, choices=Status, default=Status.QUEUED)
    word = models.CharField(max_length=60, blank=True)
    response = models.JSONField(null=True, blank=True)
    error_code = models.CharField(max_length=48, blank=True)
    error_text = models.TextField(blank=True)
    effect_state = models.CharField(max_length=12, choices=Effect, blank=True)
    effect_what = models.CharField(max_length=60, blank=True)
    effect_evidence = models.CharField(max_length=200, blank=True)
    effect_at = models.DateTimeField(null=True, blank=True)
    effect_deadline = models.DateTimeField(null=True, blank=True)
    message_id = models.CharField(max_length=36, blank=True)
    remote_start_id = models.IntegerField(null=True, blank=True)
    requested_by = models.CharField(max_length=160)
    user = models.ForeignKey(User, models.SET_NULL, null=True, blank=True, related_name="+")
    requested_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True, blank=True)
    sent_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = scoped("station__operator_id", "station__site_id")

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(
                fields=["station", "id"], name="command_open", condition=models.Q(status__in=["queued", "sent"])
            ),
            models.Index(fields=["effect_deadline"], name="command_effect", condition=models.Q(effect_state="pending")),
            models.Index(fields=["station", "-id"], name="command_by_station"),
        ]
        verbose_name = _("command")

    def __str__(self) -> str:
        return f"{self.command or self.action} → {self.station}"

    @property
    def is_final(self) -> bool:
        """Whether the station's answer (or its absence) is settled."""
        return self.status in self.FINAL

    @property
    def shown(self) -> str:
        """The word for people: the operator's word, else the raw action."""
        return self.command or self.action


class Frame(models.Model):
    """One frame of the talk, secrets removed and tokens replaced by pseudonyms. Written in bulk by ingest.

    Our answer to a station's call stands in the same row (``answer``, ``answer_ms`` after it), for it is
    committed in the same transaction; a station's answer to our call is a row of its own.
    """

    class Direction(models.IntegerChoices):
        IN = 0, _("from the station")
        OUT = 1, _("to the station")

    station = models.ForeignKey(Station, models.DO_NOTHING, related_name="frames", db_constraint=False)
    at = models.DateTimeField()
    direction = models.PositiveSmallIntegerField(choices=Direction)
    kind = models.PositiveSmallIntegerField(default=2)  # 2 call, 3 result, 4 error, 0 not parseable
    message_id = models.CharField(max_length=255, blank=True)
    action = models.CharField(max_length=64, blank=True)
    text = models.TextField()
    answer = models.TextField(blank=True)
    answer_ms = models.IntegerField(null=True)
    note = models.CharField(max_length=200, blank=True)
    session_ref = models.CharField(max_length=64, blank=True)

    objects = scoped("station__operator_id", "station__site_id")

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["station", "-id"], name="frame_by_station")]


class RefusedConnection(models.Model):
    """A socket that was not let in, counted per identity, address and reason."""

    operator = models.ForeignKey(Operator, models.CASCADE, null=True, blank=True, related_name="refused_connections")
    station = models.ForeignKey(Station, models.CASCADE, null=True, blank=True, related_name="refused_connections")
    identity = models.CharField(max_length=300)
    address = models.CharField(max_length=64)
    reason = models.CharField(max_length=40)
    detail = models.CharField(max_length=300, blank=True)
    offered = models.CharField(max_length=300, blank=True)
    credential = models.CharField(max_length=120, blank=True)
    count = models.PositiveIntegerField(default=1)
    recent = models.JSONField(default=list)  # when it happened lately, in seconds since 1970, the oldest first
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()

    objects = scoped()

    class Meta:
        ordering = ["-last_at"]
        constraints = [models.UniqueConstraint(fields=["identity", "address", "reason"], name="refused_once")]
        indexes = [models.Index(fields=["last_at"], name="refused_lately")]


class StationEvent(models.Model):
    """A line of the live feed: something an operator would want to see pass by."""

    class Kind(models.TextChoices):
        CONNECTED = "connected", _("Connected")
        DISCONNECTED = "disconnected", _("Connection lost")
        BOOTED = "booted", _("Started up")
        STATUS = "status", _("Connector state")
        FAULT = "fault", _("Fault")
        SESSION_STARTED = "session_started", _("Session started")
        SESSION_ENDED = "session_ended", _("Session finished")
        TOKEN_REFUSED = "token_refused", _("Card refused")
        SECURITY = "security", _("Security event")
        FIRMWARE = "firmware", _("Firmware")
        NOTE = "note", _("Message")

    operator = models.ForeignKey(Operator, models.CASCADE, related_name="+")
    station = models.ForeignKey(Station, models.CASCADE, related_name="events")
    evse = models.PositiveSmallIntegerField(null=True)
    kind = models.CharField(max_length=16, choices=Kind)
    facts = models.JSONField(default=dict)
    at = models.DateTimeField()

    objects = scoped("operator_id", "station__site_id")

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["operator", "-id"], name="event_by_operator")]


class Alert(models.Model):
    """Something an operator should act on: the reason in words, the evidence, the one action that helps.

    One open alert per ``dedupe_key``; raising again counts it up. What ``facts`` holds and how it reads
    depends on the ``kind`` (`stations.alert_kinds`); ``resolution`` says how it ended.
    """

    class Severity(models.TextChoices):
        CRITICAL = "critical", _("Critical")
        WARNING = "warning", _("Warning")
        INFO = "info", _("For information")

        @property
        def tone(self) -> str:
            """The colour of its badge."""
            return {"critical": "bad", "warning": "waiting"}.get(self, "idle")

    class Resolution(models.TextChoices):
        OVER = "over", _("Over by itself")
        GROUPED = "grouped", _("Part of a site alert")
        ACTED = "acted", _("Settled")
        CLOSED = "closed", _("Closed")

    uuid = models.UUIDField(default=uuid7, unique=True, editable=False)
    operator = models.ForeignKey(Operator, models.CASCADE, related_name="alerts")
    site = models.ForeignKey(Site, models.CASCADE, null=True, blank=True, related_name="alerts")
    station = models.ForeignKey(Station, models.CASCADE, null=True, blank=True, related_name="alerts")
    evse = models.PositiveSmallIntegerField(null=True, blank=True)
    kind = models.CharField(max_length=40)
    severity = models.CharField(max_length=8, choices=Severity, default=Severity.WARNING)
    dedupe_key = models.CharField(max_length=120)
    facts = models.JSONField(default=dict)
    count = models.PositiveIntegerField(default=1)
    raised_at = models.DateTimeField()
    last_at = models.DateTimeField()
    acknowledged_at = models.DateTimeField(null=True, blank=True)
    acknowledged_by = models.ForeignKey(User, models.SET_NULL, null=True, blank=True, related_name="+")
    resolved_at = models.DateTimeField(null=True, blank=True)
    resolution = models.CharField(max_length=7, choices=Resolution, blank=True)

    objects = scoped(site_path="site_id")

    class Meta:
        ordering = ["-raised_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["operator", "dedupe_key"], condition=models.Q(resolved_at=None), name="one_open_alert"
            )
        ]
        indexes = [
            models.Index(fields=["operator", "-raised_at"], name="alert_by_operator"),
            models.Index(fields=["dedupe_key", "resolved_at"], name="alert_by_key"),
            models.Index(fields=["kind"], name="alert_open", condition=models.Q(resolved_at=None)),
        ]
        verbose_name = _("alert")

    def __str__(self) -> str:
        return self.kind

    @property
    def is_open(self) -> bool:
        """Whether nobody and nothing has ended it."""
        return self.resolved_at is None

    @property
    def level(self) -> Alert.Severity:
        """The severity with its word and colour."""
        return self.Severity(self.severity)


def is_online(now: dt.datetime) -> models.Q:
    """Return the condition of a station that is here: an open socket at a gateway whose lease is young."""
    young = Gateway.objects.filter(id=models.OuterRef("gateway"), lease_at__gt=now - ONLINE_LEASE)
    return models.Q(models.Exists(young))
