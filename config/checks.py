"""Dangers of an installation that only Voltyard can know: ``manage.py check --deploy``.

Django's own deployment checks (DEBUG, HSTS, cookies, the length of SECRET_KEY …) run beside them.
"""

from __future__ import annotations

import ipaddress
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.apps.config import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import DatabaseError

from stations.models import Station

SHORTEST_SECRET = 32
LOCAL = {"localhost", "127.0.0.1", "::1"}


@register(Tags.security, deploy=True)
def deployment(app_configs: Sequence[AppConfig] | None, **options: Any) -> list[CheckMessage]:
    """Return what would be dangerous where this installation can be reached from outside."""
    return [*_address(), *_proxy(), *_chargers(), *_processes(), *_mail(), *_payments(), *_files()]


def _is_public() -> bool:
    return (urlsplit(settings.PUBLIC_URL).hostname or "") not in LOCAL


def _address() -> Iterator[CheckMessage]:
    if settings.DEMO and _is_public():
        yield Error(
            "DEMO is on and PUBLIC_URL is not this machine: everybody could log in with one click.",
            hint="Unset DEMO, or PUBLIC_URL.",
            id="voltyard.E001",
        )
    if _is_public() and not settings.SECURE_SITE:
        yield Error(
            "PUBLIC_URL begins with http: passwords and charger keys would travel in the clear.",
            hint="End TLS in front of Voltyard and set PUBLIC_URL=https://…",
            id="voltyard.E002",
        )
    if "*" in settings.ALLOWED_HOSTS:
        yield Warning(
            "ALLOWED_HOSTS holds *: a forged host name is taken for ours.",
            hint="Name the hosts, or leave it unset: then the host of PUBLIC_URL counts.",
            id="voltyard.W003",
        )


def _proxy() -> Iterator[CheckMessage]:
    for proxy in settings.TRUSTED_PROXIES:
        if ipaddress.ip_network(proxy).prefixlen == 0:
            yield Error(
                f"TRUSTED_PROXIES: {proxy} is everybody, so everybody may invent the address they come from.",
                hint="Name the address of the proxy.",
                id="voltyard.E004",
            )
    if settings.SECURE_SITE and not settings.TRUSTED_PROXIES:
        yield Warning(
            "TRUSTED_PROXIES is empty: behind a proxy everybody seems to come from the proxy's address, "
            "so limits on log-ins and chargers count all of them together.",
            hint="Name the address of the proxy; with a unix socket, 127.0.0.1.",
            id="voltyard.W005",
        )


def _chargers() -> Iterator[CheckMessage]:
    if settings.GATEWAY_SECRET and len(settings.GATEWAY_SECRET) < SHORTEST_SECRET:
        yield Error(
            f"GATEWAY_SECRET is shorter than {SHORTEST_SECRET} characters: whoever guesses it is any charger.",
            id="voltyard.E006",
        )
    try:
        profiles = dict(_profiles())
    except DatabaseError:  # not migrated yet: there are no stations either
        return
    if profiles.get(3) and not settings.GATEWAY_SECRET:
        yield Error(
            f"{profiles[3]} stations use security profile 3 but GATEWAY_SECRET is not set: none of them is let in.",
            hint="Set the same secret here and in the proxy that checks the certificates.",
            id="voltyard.E007",
        )
    if profiles.get(0):
        yield Warning(
            f"{profiles[0]} stations use security profile 0: whoever knows an identity can speak for it.",
            hint="Give them a password and profile 1 or 2.",
            id="voltyard.W008",
        )


def _profiles() -> Iterator[tuple[int, int]]:
    in_use = Station.objects.filter(retired_at=None)
    for profile in (0, 3):
        yield profile, in_use.filter(security_profile=profile).count()


def _processes() -> Iterator[CheckMessage]:
    if not settings.EMBEDDED and not settings.REDIS_URL:
        yield Error(
            "DATABASE_URL is set without REDIS_URL: processes cannot wake each other, and jobs stay on one machine.",
            hint="Set REDIS_URL.",
            id="voltyard.E009",
        )
    if settings.EMBEDDED and settings.REDIS_URL:
        yield Warning(
            "REDIS_URL is set without DATABASE_URL: SQLite serves one process only.",
            hint="Set DATABASE_URL, or unset REDIS_URL.",
            id="voltyard.W010",
        )


def _mail() -> Iterator[CheckMessage]:
    if settings.EMAIL_BACKEND.endswith((".filebased.EmailBackend", ".console.EmailBackend")):
        yield Warning(
            "Mail is written to a folder or to the console: nobody gets invitations, receipts or password links.",
            hint="Set EMAIL_URL=smtp://user:password@host:587?tls=1",
            id="voltyard.W011",
        )


def _payments() -> Iterator[CheckMessage]:
    if settings.STRIPE_SECRET_KEY and not settings.STRIPE_WEBHOOK_SECRET:
        yield Error(
            "STRIPE_SECRET_KEY is set without STRIPE_WEBHOOK_SECRET: payments would never be booked.",
            id="voltyard.E012",
        )
    if settings.STRIPE_API_BASE and _is_public():
        yield Warning(
            "STRIPE_API_BASE points away from Stripe: payments go to a stand-in.",
            hint="Unset it.",
            id="voltyard.W013",
        )


def _files() -> Iterator[CheckMessage]:
    for path in _secret_files():
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            yield Error(
                f"{path} can be read by other users of this machine.", hint=f"chmod 600 {path}", id="voltyard.E014"
            )


def _secret_files() -> list[Path]:
    kept = (settings.DATA_DIR / name for name in ("secret_key", "credential_keys", "data_keys"))
    return [path for path in kept if path.exists()]
