"""Addresses of sites, stations, commands and messages; config/urls.py puts each list under its namespace.

An identity may hold slashes, which arrive decoded: so the longer addresses come first.
"""

from __future__ import annotations

from django.urls import path

from stations import api, api_commands

api_urls = [
    path("sites/", api.Sites.as_view(), name="sites"),
    path("sites/<uuid:id>/", api.OneSite.as_view(), name="site"),
    path("stations/", api.Stations.as_view(), name="stations"),
    path("stations/<path:identity>/commands/", api_commands.StationCommands.as_view(), name="station_commands"),
    path("stations/<path:identity>/messages/", api_commands.StationMessages.as_view(), name="station_messages"),
    path("stations/<path:identity>/", api.OneStation.as_view(), name="station"),
    path("commands/", api_commands.Commands.as_view(), name="commands"),
    path("commands/<uuid:id>/", api_commands.OneCommand.as_view(), name="command"),
]
