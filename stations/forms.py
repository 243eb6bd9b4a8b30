"""What people type about sites, stations and commands."""

from __future__ import annotations

import json
from typing import Any, cast

from django import forms
from django.utils.translation import gettext_lazy as _

from accounts.forms import TimeZoneField
from accounts.models import Membership
from stations import enrolment
from stations.enrolment import LinkFacts, SiteFacts, StationFacts
from stations.models import Site, Station
from stations.ocpp.versions import ADAPTERS

PROFILES = [
    (1, _("1: password")),
    (2, _("2: password, over TLS")),
    (3, _("3: client certificate, over TLS")),
    (0, _("0: no password (closed networks only)")),
]
TRIGGERS = [
    "BootNotification",
    "StatusNotification",
    "MeterValues",
    "Heartbeat",
    "FirmwareStatusNotification",
    "LogStatusNotification",
]


def _kw(watts: int) -> str:
    return f"{watts / 1000:g}"


# --- sites and stations --------------------------------------------------------------------------------


class SiteForm(forms.ModelForm):  # type: ignore[type-arg]
    """A place with chargers."""

    time_zone = TimeZoneField(label=_("Time zone"))
    power_limit_kw = forms.DecimalField(
        label=_("Grid limit in kW"), required=False, min_value=0, max_digits=8, decimal_places=2
    )

    class Meta:
        model = Site
        fields = ["name", "address", "city", "country", "time_zone", "latitude", "longitude"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.power_limit_w is not None:
            self.initial["power_limit_kw"] = _kw(self.instance.power_limit_w)

    def _post_clean(self) -> None:
        """Leave the object as it is: the rules of a site are `enrolment`'s."""

    @property
    def facts(self) -> SiteFacts:
        """What was typed."""
        values = dict(self.cleaned_data)
        limit = values.pop("power_limit_kw")
        return cast(SiteFacts, values | {"power_limit_w": None if limit is None else int(limit * 1000)})


class _SiteChoice(forms.ModelChoiceField):  # type: ignore[type-arg]
    def __init__(self) -> None:
        super().__init__(label=_("Site"), queryset=Site.objects.none(), to_field_name="uuid", empty_label=None)


class _OfOperator(forms.Form):
    """A form with a choice of the sites its person may see."""

    def __init__(self, *args: Any, by: Membership, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        rows = Site.objects.visible_to(by).filter(retired_at=None)
        cast(_SiteChoice, self.fields["site"]).queryset = rows


class NewStationForm(_OfOperator):
    """A charger before it has dialled."""

    site = _SiteChoice()
    identity = forms.CharField(
        label=_("Identity"),
        max_length=48,
        strip=False,
        help_text=_("As it is set in the charger; the last part of the address it dials."),
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )
    name = forms.CharField(label=_("Name"), max_length=120, required=False, help_text=_("What people call it."))
    security_profile = forms.TypedChoiceField(label=_("Security profile"), choices=PROFILES, coerce=int)
    password = forms.CharField(
        label=_("Password"),
        required=False,
        strip=False,
        help_text=_("At least 16 characters. Leave empty to have one generated that every version can hold."),
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )
    connectors = forms.IntegerField(
        label=_("Connectors"),
        required=False,
        min_value=0,
        max_value=64,
        help_text=_("How many, if you know. The charger reports them itself when it connects."),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["security_profile"].initial = enrolment.default_profile()

    @property
    def facts(self) -> dict[str, Any]:
        """What was typed, as `enrolment.create_station` takes it."""
        values = dict(self.cleaned_data)
        count = values.pop("connectors") or 0
        return values | {"connectors": [{"connector": number} for number in range(1, count + 1)]}


class AdoptForm(_OfOperator):
    """Where an unknown charger belongs."""

    identity = forms.CharField(widget=forms.HiddenInput, max_length=300, strip=False)
    site = _SiteChoice()
    name = forms.CharField(label=_("Name"), max_length=120, required=False)


class StationForm(_OfOperator):
    """What may be changed of a station."""

    name = forms.CharField(label=_("Name"), max_length=120)
    site = _SiteChoice()
    max_power_kw = forms.DecimalField(
        label=_("Rated power in kW"), required=False, min_value=0, max_digits=8, decimal_places=2
    )
    security_profile = forms.TypedChoiceField(label=_("Security profile"), choices=PROFILES, coerce=int)
    default_subprotocol = forms.ChoiceField(
        label=_("Version without a subprotocol header"),
        required=False,
        choices=[("", _("Refuse")), *((name, name) for name in ADAPTERS)],
        help_text=_("Some chargers do not say which version they speak. Leave at “Refuse” unless this one does not."),
    )
    ping_seconds = forms.IntegerField(
        label=_("Ping every … seconds"), required=False, min_value=10, max_value=3600, help_text=_("Empty: as usual.")
    )
    compression = forms.BooleanField(label=_("Compression, where the charger offers it"), required=False)

    @staticmethod
    def initial_of(station: Station) -> dict[str, Any]:
        """Return what the form shows for a station."""
        names = ["name", "security_profile", "default_subprotocol", "ping_seconds", "compression"]
        power = None if station.max_power_w is None else _kw(station.max_power_w)
        return {name: getattr(station, name) for name in names} | {"site": station.site.uuid, "max_power_kw": power}

    @property
    def facts(self) -> StationFacts:
        """What was typed."""
        values = dict(self.cleaned_data)
        power = values.pop("max_power_kw")
        return cast(StationFacts, values | {"max_power_w": None if power is None else int(power * 1000)})


class VersionForm(forms.Form):
    """The version of a charger that does not name one."""

    default_subprotocol = forms.ChoiceField(label=_("Version"), choices=[(name, name) for name in ADAPTERS])

    @property
    def facts(self) -> LinkFacts:
        """What was chosen."""
        return cast(LinkFacts, dict(self.cleaned_data))


# --- commands ------------------------------------------------------------------------------------------


class CommandForm(forms.Form):
    """A command with its arguments. ``places`` are the connectors of the station: (number, words)."""

    def __init__(self, *args: Any, places: list[tuple[int, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        chosen = cast("forms.ChoiceField | None", self.fields.get("connector"))
        if chosen is not None:
            chosen.choices = ([] if chosen.required else [("", _("The whole station"))]) + [*places]

    @property
    def arguments(self) -> dict[str, Any]:
        """What was typed, as `commands.ask` takes it; what was left empty is not there."""
        return {name: value for name, value in self.cleaned_data.items() if value not in ("", None)}


class _Place(forms.TypedChoiceField):
    def __init__(self, *, required: bool) -> None:
        super().__init__(label=_("Connector"), required=required, coerce=int, empty_value=None)


class StartForm(CommandForm):
    """Where and for whom to start."""

    connector = _Place(required=True)
    token = forms.CharField(
        label=_("Card or app token"),
        max_length=255,
        help_text=_("Whoever owns it pays for the session."),
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )


class StopForm(CommandForm):
    """Which session to stop; hidden, since each button stands at its session."""

    session = forms.CharField(widget=forms.HiddenInput, max_length=36)


class PlaceForm(CommandForm):
    """Which connector."""

    connector = _Place(required=True)


class ResetForm(CommandForm):
    """How to reset."""

    kind = forms.ChoiceField(
        label=_("How"),
        choices=[("soft", _("Soft: after running sessions, where it can")), ("hard", _("Hard: at once"))],
    )


class AvailabilityForm(CommandForm):
    """Into service or out of it."""

    connector = _Place(required=False)
    operative = forms.TypedChoiceField(
        label=_("Service"),
        choices=[("no", _("Take out of service")), ("yes", _("Put into service"))],
        coerce=lambda value: value == "yes",
        empty_value=None,
    )


class TriggerForm(CommandForm):
    """What to ask for."""

    message = forms.ChoiceField(label=_("Message"), choices=[(name, name) for name in TRIGGERS])
    connector = _Place(required=False)


class ReadForm(CommandForm):
    """Which settings to read."""

    keys = forms.CharField(
        label=_("Keys"), required=False, max_length=2000, help_text=_("Separated by commas. Empty: all.")
    )

    def clean_keys(self) -> list[str] | None:
        """Return the names."""
        return [key.strip() for key in self.cleaned_data["keys"].split(",") if key.strip()] or None


class SetForm(CommandForm):
    """A setting and its new value."""

    component = forms.CharField(
        label=_("Component"), required=False, max_length=120, help_text=_("Only OCPP 2.x, such as OCPPCommCtrlr.")
    )
    key = forms.CharField(label=_("Key"), max_length=120)
    value = forms.CharField(label=_("Value"), required=False, max_length=2500, strip=False)

    @property
    def arguments(self) -> dict[str, Any]:
        """A setting may be set to nothing."""
        return super().arguments | {"value": self.cleaned_data["value"]}


class RawForm(CommandForm):
    """Any call, for those who know the protocol."""

    action = forms.CharField(label=_("Action"), max_length=48)
    payload = forms.CharField(
        label=_("Payload"), initial="{}", strip=False, widget=forms.Textarea(attrs={"rows": 6, "spellcheck": "false"})
    )

    def clean_payload(self) -> dict[str, Any]:
        """Return the object."""
        try:
            value = json.loads(self.cleaned_data["payload"])
        except ValueError as error:
            raise forms.ValidationError(_("Not JSON: %(reason)s"), params={"reason": error}) from None
        if not isinstance(value, dict):
            raise forms.ValidationError(_("A JSON object is required."))
        return value


RAW = "raw"
FORMS: dict[str, type[CommandForm]] = {
    "start": StartForm,
    "stop": StopForm,
    "unlock": PlaceForm,
    "reset": ResetForm,
    "change_availability": AvailabilityForm,
    "trigger": TriggerForm,
    "get_configuration": ReadForm,
    "set_configuration": SetForm,
    "clear_cache": CommandForm,
    RAW: RawForm,
}
