"""Typed readers of the environment; every wrong or missing variable is collected and told at once."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import os
import secrets
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote, urlsplit

T = TypeVar("T")


class ConfigurationError(SystemExit):
    """The process cannot start; the message names every variable that is wrong."""


class Environment:
    """Reads variables, remembers what is wrong, and refuses once at the end (`check`).

    Any variable may come as ``NAME_FILE``: a path whose content (stripped) is the value.
    """

    def __init__(self, source: Mapping[str, str] | None = None) -> None:
        self._source = os.environ if source is None else source
        self.problems: list[str] = []

    def raw(self, name: str) -> str | None:
        """Return the value of ``name`` or of the file that ``NAME_FILE`` points to; None where unset or empty."""
        value = self._source.get(name)
        if value:
            return value
        path = self._source.get(f"{name}_FILE")
        if path:
            try:
                return Path(path).read_text().strip() or None
            except OSError as error:
                self.problems.append(f"{name}_FILE: cannot read {path} ({error.strerror})")
        return None

    def text(self, name: str, default: str = "") -> str:
        """Return a text."""
        return self.raw(name) or default

    def parsed(self, name: str, parse: Callable[[str], T], default: T, wanted: str) -> T:
        """Return ``parse(value)``; a ValueError notes that ``wanted`` was expected."""
        value = self.raw(name)
        if value is None:
            return default
        try:
            return parse(value)
        except ValueError:
            shown = "its value" if "@" in value else repr(value)  # an address may hold a password
            self.problems.append(f"{name}: {shown} is not {wanted}")
            return default

    def flag(self, name: str, default: bool) -> bool:
        """Return a truth value written 1/0, true/false, yes/no, on/off."""
        words = {
            "1": True,
            "true": True,
            "yes": True,
            "on": True,
            "0": False,
            "false": False,
            "no": False,
            "off": False,
        }

        def parse(value: str) -> bool:
            try:
                return words[value.lower()]
            except KeyError:
                raise ValueError(value) from None

        return self.parsed(name, parse, default, "1 or 0")

    def number(self, name: str, default: int) -> int:
        """Return a whole number."""
        return self.parsed(name, int, default, "a whole number")

    def words(self, name: str, default: list[str]) -> list[str]:
        """Return a comma list without blanks."""
        return [part.strip() for part in self.text(name, ",".join(default)).split(",") if part.strip()]

    def networks(self, name: str) -> list[str]:
        """Return a comma list of IP addresses and networks."""

        def parse(value: str) -> list[str]:
            parts = [part.strip() for part in value.split(",") if part.strip()]
            return [str(ipaddress.ip_network(part, strict=False)) for part in parts]

        return self.parsed(name, parse, [], "a comma list of IP addresses or networks")

    def url(self, name: str, default: str, schemes: tuple[str, ...]) -> str:
        """Return an address with one of ``schemes``."""

        def parse(value: str) -> str:
            parts = urlsplit(value)
            if parts.scheme not in schemes or (parts.scheme.startswith("http") and not parts.hostname):
                raise ValueError(value)
            return value

        return self.parsed(name, parse, default, "an address with " + " or ".join(f"{s}://" for s in schemes))

    def keys(self, name: str, default: str | None) -> dict[str, bytes]:
        """Return ``id:base64`` pairs in order, the first one writes; each key is at least 32 bytes."""
        value = self.raw(name) or default
        if value is None:
            self.problems.append(f"{name}: required (comma list of id:base64, 32 bytes each)")
            return {"missing": bytes(32)}
        keys: dict[str, bytes] = {}
        for part in value.split(","):
            key_id, _, encoded = part.strip().partition(":")
            try:
                key = base64.b64decode(encoded, validate=True)
            except (binascii.Error, ValueError):
                key = b""
            if not key_id or len(key) < 32:
                self.problems.append(f"{name}: each entry is id:base64 of at least 32 bytes")
                return {"missing": bytes(32)}
            keys[key_id] = key
        return keys

    def database(self, name: str, sqlite_path: Path) -> dict[str, object]:
        """Return Django's database entry for ``postgresql://user:password@host:port/name`` or the SQLite file."""
        value = self.raw(name)
        if value is None:
            return {"ENGINE": "config.sqlite3", "NAME": str(sqlite_path)}
        parts = urlsplit(value)
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme == "sqlite":
            return {"ENGINE": "config.sqlite3", "NAME": parts.path or str(sqlite_path)}
        if parts.scheme not in {"postgres", "postgresql"} or port == -1 or not parts.path.strip("/"):
            self.problems.append(f"{name}: expected postgresql://user:password@host:port/name")
            return {"ENGINE": "config.sqlite3", "NAME": str(sqlite_path)}
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": unquote(parts.path.lstrip("/")),
            "USER": unquote(parts.username or ""),
            "PASSWORD": unquote(parts.password or ""),
            "HOST": parts.hostname or "",
            "PORT": str(port or ""),
        }

    def check(self) -> None:
        """Stop the start with one message where anything was wrong."""
        if self.problems:
            lines = "\n".join(f"  - {problem}" for problem in self.problems)
            sys.stderr.write(f"Voltyard cannot start. Mend these environment variables:\n{lines}\n")
            raise ConfigurationError(2)


def generated(path: Path, make: Callable[[], str]) -> str:
    """Return the secret kept in ``path`` (mode 600), made on first use; safe against two starts at once."""
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        pass
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(make())
    try:
        os.link(draft, path)  # fails where another start was first: its secret counts
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    return path.read_text().strip()


def new_key() -> str:
    """Return a fresh ``id:base64`` entry of 32 random bytes."""
    return "k1:" + base64.b64encode(secrets.token_bytes(32)).decode()
