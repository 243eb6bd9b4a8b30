from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class SessionsConfig(AppConfig):
    """Charging sessions. The label is ``charging`` because Django's own session app holds ``sessions``."""

    name = "sessions"
    label = "charging"
    verbose_name = _("Charging sessions")
