"""People, operators, drivers, tokens, keys and the audit trail."""

from __future__ import annotations

import datetime as dt
import os
import time
import uuid
from typing import Any, ClassVar

from django.contrib.auth.base_user import BaseUserManager
from django.contrib.auth.models import AbstractUser
from django.core.validators import MinLengthValidator, RegexValidator
from django.db import models, transaction
from django.db.models.functions import Lower
from django.utils.translation import gettext_lazy as _

from accounts.roles import Role
from accounts.scoping import scoped


def uuid7() -> uuid.UUID:
    """Return a UUIDv7 (RFC 9562 §5.7): sorts by time, tells nothing else."""
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds << 80) | int.from_bytes(os.urandom(10))
    value = (value & ~(0xF << 76)) | (0x7 << 76)
    value = (value & ~(0x3 << 62)) | (0x2 << 62)
    return uuid.UUID(int=value)


class UserManager(BaseUserManager["User"]):
    """Makes people who log in by e-mail."""

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> User:
        """Return a new person; without a password they must set one by mail.

        The address counts as proven: people come by invitation, by command or from the staff.
        """
        from allauth.account.models import EmailAddress  # its models need the app registry to be ready

        user = self.model(email=self.normalize_email(email).lower(), **fields)
        user.set_password(password)
        with transaction.atomic(using=self._db):
            user.save(using=self._db)
            EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
        return user

    def create_superuser(self, email: str, password: str, **fields: Any) -> User:
        """Return a new member of the installation's staff."""
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)


class User(AbstractUser):
    """A person, once for the whole installation, whatever they do at which operator."""

    class Theme(models.TextChoices):
        SYSTEM = "system", _("As the device")
        LIGHT = "light", _("Light")
        DARK = "dark", _("Dark")

    username = None  # type: ignore[assignment]
    first_name = None  # type: ignore[assignment]
    last_name = None  # type: ignore[assignment]
    email = models.EmailField(_("e-mail"), unique=True)
    name = models.CharField(_("name"), max_length=120, blank=True)
    language = models.CharField(_("language"), max_length=8, default="en")
    time_zone = models.CharField(_("time zone"), max_length=64, blank=True)
    theme = models.CharField(_("theme"), max_length=8, choices=Theme, default=Theme.SYSTEM)
    shortcuts = models.BooleanField(_("single-key shortcuts"), default=True)

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []
    objects: ClassVar[UserManager] = UserManager()  # type: ignore[assignment]

    @property
    def display_name(self) -> str:
        """Name, else e-mail."""
        return self.name or self.email

    def __str__(self) -> str:
        return self.display_name


class Operator(models.Model):
    """A tenant: one company that runs chargers."""

    uuid = models.UUIDField(default=uuid7, unique=True, editable=False)
    name = models.CharField(_("name"), max_length=120)
    slug = models.SlugField(_("short name"), max_length=40, unique=True)
    currency = models.CharField(_("currency"), max_length=3, default="EUR", validators=[RegexValidator(r"^[A-Z]{3}$")])
    time_zone = models.CharField(_("time zone"), max_length=64, default="Europe/Berlin")
    country = models.CharField(_("country"), max_length=2, default="DE", validators=[RegexValidator(r"^[A-Z]{2}$")])
    suspended_at = models.DateTimeField(_("suspended"), null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]
        verbose_name = _("operator")

    def __str__(self) -> str:
        return self.name

    @property
    def is_suspended(self) -> bool:
        """Whether the installation's staff has closed this operator."""
        return self.suspended_at is not None


class Membership(models.Model):
    """A person's role at an operator; the actor of everything they do in its console."""

    uuid = models.UUIDField(default=uuid7, unique=True, editable=False)
    user = models.ForeignKey(User, models.CASCADE, related_name="memberships")
    operator = models.ForeignKey(Operator, models.CASCADE, related_name="memberships")
    role = models.CharField(_("role"), max_length=12, choices=Role)
    all_sites = models.BooleanField(_("all sites"), default=True)
    site_ids = models.JSONField(_("sites"), default=list, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = scoped()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "operator"], name="one_membership_each")]
        verbose_name = _("membership")

    def __str__(self) -> str:
        return f"{self.user} · {self.get_role_display()}"

    @property
    def site_scope(self) -> frozenset[int] | None:
        """Keys of the sites this person is limited to; None for all."""
        return None if self.all_sites else frozenset(self.site_ids)


class Invitation(models.Model):
    """An open invitation to become a member or a driver; the link is kept as a digest."""

    uuid = models.UUIDField(default=uuid7, unique=True, editable=False)
    operator = models.ForeignKey(Operator, models.CASCADE, related_name="invitations")
    email = models.EmailField(_("e-mail"))
    role = models.CharField(_("role"), max_length=12, choices=Role, blank=True)
    driver = models.ForeignKey("Driver", models.CASCADE, null=True, blank=True, related_name="invitations")
    site_ids = models.JSONField(default=list, blank=True)
    all_sites = models.BooleanField(default=True)
    digest = models.CharField(max_length=120, unique=True)
    invited_by = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True, blank=True)

    objects = scoped()

    class Meta:
        ordering = ["-id"]
        verbose_name = _("invitation")

    def __str__(self) -> str:
        return f"{self.email} → {self.operator}"

    def is_open(self, at: dt.datetime) -> bool:
        """Whether it can still be accepted at ``at``."""
        return self.accepted_at is None and self.expires_at > at


class Driver(models.Model):
    """Somebody who charges at an operator. Two operators, two drivers; the log-in may be one."""

    uuid = models.UUIDField(default=uuid7, unique=True, editable=False)
    operator = models.ForeignKey(Operator, models.PROTECT, related_name="drivers")
    user = models.ForeignKey(User, models.SET_NULL, null=True, blank=True, related_name="drivers")
    name = models.CharField(_("name"), max_length=120)
    email = models.EmailField(_("e-mail"), blank=True)
    group = models.CharField(_("group"), max_length=60, blank=True)
    retired_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = scoped()

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["operator", "user"], name="one_driver_per_user")]
        verbose_name = _("driver")

    def __str__(self) -> str:
        return self.name

    @property
    def masked(self) -> str:
        """A name for those who may not see personal data: stable, and telling nothing."""
        return f"…{str(self.uuid)[-4:]}"


class IdToken(models.Model):
    """What a driver shows to charge.

    Compared without case inside one operator. A PIN is never stored: ``value`` then holds its keyed digest.
    """

    class Type(models.TextChoices):
        RFID = "rfid", _("RFID card")
        APP = "app", _("App")
        PIN = "pin", _("PIN")
        EMAID = "emaid", _("Contract (eMAID)")
        MAC = "mac", _("Vehicle (MAC address)")
        OTHER = "other", _("Other")

    class Status(models.TextChoices):
        ACTIVE = "active", _("Active")
        BLOCKED = "blocked", _("Blocked")
        EXPIRED = "expired", _("Expired")

        @property
        def tone(self) -> str:
            """The colour of its badge."""
            return {"active": "good", "blocked": "bad"}.get(self, "idle")

        @property
        def icon(self) -> str:
            """The Lucide icon of its badge."""
            return {"active": "check", "blocked": "ban"}.get(self, "clock")

    uuid = models.UUIDField(default=uuid7, unique=True, editable=False)
    operator = models.ForeignKey(Operator, models.PROTECT, related_name="tokens")
    driver = models.ForeignKey(Driver, models.PROTECT, null=True, blank=True, related_name="tokens")
    type = models.CharField(_("type"), max_length=8, choices=Type, default=Type.RFID)
    value = models.CharField(_("value"), max_length=255, validators=[MinLengthValidator(1)])
    label = models.CharField(_("label"), max_length=60, blank=True)
    group = models.CharField(_("group"), max_length=36, blank=True)
    status = models.CharField(_("status"), max_length=8, choices=Status, default=Status.ACTIVE)
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True)
    stations = models.JSONField(_("only at stations"), default=list, blank=True)
    concurrent = models.BooleanField(_("several sessions at once"), default=False)
    retired_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    # Joined by `accounts.tokens.find_token`, which is the way of a tap.
    driver_retired_at: object = None
    operator_suspended_at: object = None

    objects = scoped()

    class Meta:
        ordering = ["-id"]
        constraints = [
            # A retired card may be handed out again, to somebody else.
            models.UniqueConstraint(
                "operator", Lower("value"), condition=models.Q(retired_at=None), name="token_once_per_operator"
            )
        ]
        indexes = [models.Index(fields=["operator", "group"], name="token_group")]
        verbose_name = _("token")

    def __str__(self) -> str:
        return self.label or self.masked

    @property
    def state(self) -> IdToken.Status:
        """The status with its word and colour."""
        return self.Status(self.status)

    @property
    def shown(self) -> str:
        """The value as staff may see it; a PIN never."""
        return "PIN" if self.type == self.Type.PIN else self.value

    @property
    def masked(self) -> str:
        """The last four characters, for those who may not see personal data."""
        return "PIN" if self.type == self.Type.PIN else f"…{self.value[-4:]}"

    def is_usable(self, at: dt.datetime) -> bool:
        """Whether the token itself (not place, not funds) allows charging at ``at``."""
        return (
            self.status == self.Status.ACTIVE
            and self.retired_at is None
            and (self.expires_at is None or self.expires_at > at)
        )


class ApiKey(models.Model):
    """A program's key: an actor with a role inside one operator. Only a digest is kept."""

    operator = models.ForeignKey(Operator, models.CASCADE, related_name="api_keys")
    uuid = models.UUIDField(default=uuid7, unique=True, editable=False)
    name = models.CharField(_("name"), max_length=60)
    role = models.CharField(_("role"), max_length=12, choices=Role)
    prefix = models.CharField(max_length=12)
    digest = models.CharField(max_length=120, unique=True)
    created_by = models.ForeignKey(User, models.SET_NULL, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    objects = scoped()

    class Meta:
        ordering = ["-id"]
        verbose_name = _("API key")

    def __str__(self) -> str:
        return self.name

    @property
    def site_scope(self) -> frozenset[int] | None:
        """Keys see all sites of their operator."""
        return None

    @property
    def is_authenticated(self) -> bool:
        """Django REST framework asks this of whoever calls."""
        return True


class IdempotentCall(models.Model):
    """The first answer to an API write that carried an Idempotency-Key, written in the write's transaction.

    ``body`` is sealed and the request kept as a keyed digest only: both may hold a secret that is shown once.
    """

    api_key = models.ForeignKey(ApiKey, models.CASCADE, related_name="+")
    key = models.CharField(max_length=64)
    request_digest = models.CharField(max_length=120)
    status = models.PositiveSmallIntegerField()
    body = models.TextField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["api_key", "key"], name="idempotency_key_once")]


class AuditEntry(models.Model):
    """One thing done by somebody; written by `accounts.audit.record`, never changed."""

    uuid = models.UUIDField(default=uuid7, unique=True, editable=False)
    operator = models.ForeignKey(Operator, models.PROTECT, null=True, related_name="audit_entries")
    user = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")
    api_key = models.ForeignKey(ApiKey, models.SET_NULL, null=True, related_name="+")
    actor = models.CharField(max_length=160)
    action = models.CharField(max_length=60)
    target_type = models.CharField(max_length=60)
    target_id = models.CharField(max_length=60)
    target = models.CharField(max_length=200)
    facts = models.JSONField(default=dict)
    at = models.DateTimeField(auto_now_add=True)

    objects = scoped()

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["operator", "-id"], name="audit_by_operator")]
        verbose_name = _("audit entry")

    def __str__(self) -> str:
        return f"{self.action} {self.target}"
