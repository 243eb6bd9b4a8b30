"""Addresses of sessions; config/urls.py puts each list under its namespace. Lists with costs: `billing.urls`."""

from __future__ import annotations

from django.urls import path

from sessions import api, views_console, views_driver

console_urls = [
    path("sessions/<uuid:id>/", views_console.session, name="session"),
    path("sessions/<uuid:id>/series/", views_console.session_series, name="session_series"),
    path("sessions/<uuid:id>/badge/", views_console.session_badge, name="session_badge"),
    path("sessions/<uuid:id>/messages/", views_console.session_messages, name="session_messages"),
]

driver_urls = [
    path("sessions/<uuid:id>/figures/", views_driver.session_figures, name="session_figures"),
    path("sessions/<uuid:id>/power/", views_driver.session_power, name="session_power"),
    path("sessions/<uuid:id>/stopping/", views_driver.session_stopping, name="session_stopping"),
    path("sessions/<uuid:id>/stop/", views_driver.session_stop, name="session_stop"),
]

api_urls = [
    path("sessions/<uuid:id>/readings/", api.Readings.as_view(), name="session_readings"),
    path("sessions/<uuid:id>/messages/", api.Messages.as_view(), name="session_messages"),
]
