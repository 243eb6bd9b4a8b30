"""Letters to people, as text and HTML, with links that no request can bend."""

from __future__ import annotations

import logging
import smtplib
from typing import Any

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string

log = logging.getLogger("voltyard.mail")


def address(path: str) -> str:
    """Return the full address of ``path``: from PUBLIC_URL, never from what a request says its host is."""
    return f"{settings.PUBLIC_URL}{path}"


def write(name: str, to: str, *, subject: str, **context: Any) -> EmailMultiAlternatives:
    """Return the letter ``templates/emails/<name>.txt`` and ``.html`` in the active language."""
    context |= {"subject": subject, "public_url": settings.PUBLIC_URL}
    letter = EmailMultiAlternatives(
        " ".join(subject.split()), render_to_string(f"emails/{name}.txt", context), settings.DEFAULT_FROM_EMAIL, [to]
    )
    letter.attach_alternative(render_to_string(f"emails/{name}.html", context), "text/html")
    return letter


def post(letter: EmailMultiAlternatives) -> bool:
    """Send a letter and tell whether that worked: what was written before must not fail with the mail server."""
    try:
        letter.send()
    except (OSError, smtplib.SMTPException):
        log.exception("a letter could not be sent: %s", letter.subject)
        return False
    return True
