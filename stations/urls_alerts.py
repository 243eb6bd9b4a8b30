"""Addresses of alerts; config/urls.py puts each list under its namespace."""

from __future__ import annotations

from django.urls import path

from stations import api_alerts, views_alerts

console_alert_urls = [
    path("alerts/", views_alerts.alert_list, name="alerts"),
    path("alerts/list/", views_alerts.alert_fragment, name="alert_fragment"),
    path("alerts/<uuid:id>/acknowledge/", views_alerts.alert_ack, name="alert_ack"),
    path("alerts/<uuid:id>/act/", views_alerts.alert_act, name="alert_act"),
    path("alerts/<uuid:id>/close/", views_alerts.alert_close, name="alert_close"),
]

api_alert_urls = [
    path("alerts/", api_alerts.Alerts.as_view(), name="alerts"),
    path("alerts/<uuid:id>/", api_alerts.OneAlert.as_view(), name="alert"),
]
