"""What people type about people, tokens and keys."""

from __future__ import annotations

from typing import Any, cast

from django import forms
from django.conf import settings
from django.contrib.auth.password_validation import validate_password
from django.utils.translation import gettext_lazy as _

from accounts import time_zones, tokens
from accounts.drivers import DriverFacts
from accounts.models import Driver, IdToken, Membership, Operator, User
from accounts.people import Choices
from accounts.roles import Role
from accounts.tokens import TokenFacts


class TimeZoneField(forms.CharField):
    """A zone's IANA name, typed with suggestions."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            max_length=64,
            validators=[time_zones.validate_time_zone],
            widget=forms.TextInput(attrs={"list": "time-zones", "autocomplete": "off"}),
            **options,
        )


class AcceptForm(forms.Form):
    """The first things a new person tells: their name and a password."""

    name = forms.CharField(label=_("Your name"), max_length=120, widget=forms.TextInput(attrs={"autocomplete": "name"}))
    password = forms.CharField(
        label=_("Password"),
        strip=False,
        help_text=_("At least 10 characters."),
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )

    def __init__(self, *args: Any, email: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._email = email

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        if "password" in values:
            try:
                validate_password(values["password"], User(email=self._email, name=values.get("name", "")))
            except forms.ValidationError as error:
                self.add_error("password", error)
        return values

    @property
    def accepted(self) -> dict[str, str]:
        """Name and password."""
        return {"name": self.cleaned_data["name"], "password": self.cleaned_data["password"]}


class MemberForm(forms.Form):
    """A member's role and, where they are limited, the sites they see."""

    role = forms.ChoiceField(label=_("Role"))
    sites = forms.MultipleChoiceField(
        label=_("Only these sites"),
        required=False,
        help_text=_("Without a choice they see all sites."),
        widget=forms.CheckboxSelectMultiple,
    )

    def __init__(self, *args: Any, by: Membership, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._sites = {str(site.uuid): site for site in by.operator.sites.filter(retired_at=None)}
        roles = [choice for choice in Role.choices if choice[0] != Role.OWNER or by.role == Role.OWNER]
        cast(forms.ChoiceField, self.fields["role"]).choices = roles
        cast(forms.ChoiceField, self.fields["sites"]).choices = [(key, site.name) for key, site in self._sites.items()]

    @property
    def site_keys(self) -> list[int] | None:
        """Keys of the chosen sites, None for all."""
        return [self._sites[key].pk for key in self.cleaned_data["sites"]] or None

    @staticmethod
    def initial_of(member: Membership) -> dict[str, Any]:
        """Return what the form shows for an existing member."""
        sites = member.operator.sites.filter(pk__in=member.site_ids) if not member.all_sites else ()
        return {"role": member.role, "sites": [str(site.uuid) for site in sites]}


class InviteForm(MemberForm):
    """Whom to invite, and as what."""

    email = forms.EmailField(label=_("E-mail"))
    field_order = ["email", "role", "sites"]


class TokenForm(forms.Form):
    """What may be chosen for a token and changed later."""

    label = forms.CharField(
        label=_("Label"), max_length=60, required=False, help_text=_("What staff call it, such as “Van 7”.")
    )
    driver = forms.ModelChoiceField(
        label=_("Driver"), queryset=Driver.objects.none(), to_field_name="uuid", required=False, empty_label=_("Nobody")
    )
    group = forms.CharField(
        label=_("Group"),
        max_length=36,
        required=False,
        help_text=_("Tokens of one group may stop each other's sessions."),
    )
    expires_at = forms.DateTimeField(
        label=_("Expires"),
        required=False,
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
        input_formats=["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"],
    )
    stations = forms.CharField(
        label=_("Only at these stations"),
        required=False,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text=_("Identities, separated by commas or lines. Empty: at all stations."),
    )
    concurrent = forms.BooleanField(label=_("May charge several cars at once"), required=False)

    def __init__(self, *args: Any, operator: Operator, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._operator = operator
        drivers = Driver.objects.filter(operator=operator, retired_at=None)
        cast("forms.ModelChoiceField[Driver]", self.fields["driver"]).queryset = drivers

    def clean_stations(self) -> list[str]:
        names = [name.strip() for name in self.cleaned_data["stations"].replace("\n", ",").split(",") if name.strip()]
        found, unknown = tokens.station_uuids(self._operator, names)
        if unknown:
            raise forms.ValidationError(_("Unknown station: %(names)s"), params={"names": ", ".join(unknown)})
        return found

    @property
    def facts(self) -> TokenFacts:
        """The chosen facts."""
        names = ("label", "driver", "group", "expires_at", "stations", "concurrent")
        return cast(TokenFacts, {name: self.cleaned_data[name] for name in names})

    @staticmethod
    def initial_of(token: IdToken) -> dict[str, Any]:
        """Return what the form shows for an existing token."""
        names = tokens.station_names(token.operator, [token])
        return {
            "label": token.label,
            "driver": token.driver.uuid if token.driver else None,
            "group": token.group,
            "expires_at": token.expires_at,
            "stations": ", ".join(names.get(uuid, uuid) for uuid in token.stations),
            "concurrent": token.concurrent,
        }


class NewTokenForm(TokenForm):
    """A token's type and value, once."""

    type = forms.ChoiceField(label=_("Type"), choices=IdToken.Type)
    value = forms.CharField(
        label=_("Value"),
        max_length=255,
        required=False,
        help_text=_("As the reader reports it. Leave empty to have an app token or a PIN generated."),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    field_order = ["type", "value"]


class TokenFilter(forms.Form):
    """What the list of tokens is narrowed by; all of it stands in the address."""

    q = forms.CharField(label=_("Search"), required=False, max_length=255)
    status = forms.ChoiceField(label=_("Status"), required=False, choices=[("", _("Any")), *IdToken.Status.choices])
    type = forms.ChoiceField(label=_("Type"), required=False, choices=[("", _("Any")), *IdToken.Type.choices])


class DriverForm(forms.Form):
    """A driver as an operator knows them."""

    name = forms.CharField(label=_("Name"), max_length=120)
    email = forms.EmailField(label=_("E-mail"), required=False, help_text=_("Needed to invite them to the portal."))
    group = forms.CharField(
        label=_("Group"), max_length=60, required=False, help_text=_("Tariffs can be limited to a group.")
    )

    @property
    def facts(self) -> DriverFacts:
        """The typed facts."""
        return cast(DriverFacts, dict(self.cleaned_data))


class ApiKeyForm(forms.Form):
    """What a key is for and what it may do."""

    name = forms.CharField(label=_("Name"), max_length=60, help_text=_("Which program uses it."))
    role = forms.ChoiceField(label=_("Role"))

    def __init__(self, *args: Any, by: Membership, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        roles = [choice for choice in Role.choices if choice[0] != Role.OWNER or by.role == Role.OWNER]
        cast(forms.ChoiceField, self.fields["role"]).choices = roles


class AuditFilter(forms.Form):
    """What the audit trail is narrowed by."""

    q = forms.CharField(label=_("Who or what"), required=False, max_length=120)
    target = forms.CharField(required=False, max_length=60, widget=forms.HiddenInput)
    since = forms.DateField(label=_("From"), required=False, widget=forms.DateInput(attrs={"type": "date"}))
    until = forms.DateField(label=_("To"), required=False, widget=forms.DateInput(attrs={"type": "date"}))


class AccountForm(forms.ModelForm):  # type: ignore[type-arg]
    """What a person chooses about their own pages."""

    time_zone = TimeZoneField(label=_("Time zone"), required=False, help_text=_("Empty: the zone of the operator."))
    language = forms.ChoiceField(label=_("Language"), choices=settings.LANGUAGES)

    class Meta:
        model = User
        fields = ["name", "language", "time_zone", "theme", "shortcuts"]

    @property
    def choices(self) -> Choices:
        """The chosen values."""
        return cast(Choices, dict(self.cleaned_data))


class OperatorForm(forms.Form):
    """A new tenant and the address of its first owner."""

    name = forms.CharField(label=_("Name"), max_length=120)
    slug = forms.SlugField(
        label=_("Short name"), max_length=40, help_text=_("Part of the address that its stations dial.")
    )
    email = forms.EmailField(label=_("E-mail of the owner"), help_text=_("They get an invitation."))
    currency = forms.RegexField(r"^[A-Z]{3}$", label=_("Currency"), initial="EUR", max_length=3)
    country = forms.RegexField(r"^[A-Z]{2}$", label=_("Country"), initial="DE", max_length=2)
    zone = TimeZoneField(label=_("Time zone"), initial="Europe/Berlin")

    def clean_slug(self) -> str:
        slug = cast(str, self.cleaned_data["slug"]).lower()
        if Operator.objects.filter(slug=slug).exists():
            raise forms.ValidationError(_("This short name is taken."))
        return slug
