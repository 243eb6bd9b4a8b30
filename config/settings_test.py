"""Settings of the test suite: fast hasher, a database file of its own, nothing outside this machine."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

# A folder of this process alone, so that two runs at once do not share a database; gone when it ends.
_dir = Path(tempfile.mkdtemp(prefix="voltyard-test-"))
atexit.register(shutil.rmtree, _dir, ignore_errors=True)
os.environ["DATA_DIR"] = str(_dir)
os.environ.setdefault("SECRET_KEY", "test-only-secret-key-of-enough-length")
os.environ.setdefault("CREDENTIAL_KEYS", "t1:dGVzdC1vbmx5LWNyZWRlbnRpYWwta2V5LTMyLWJ5dGVzISE=")
os.environ.setdefault("DATA_KEYS", "t1:dGVzdC1vbmx5LWRhdGEtc2VhbGluZy1rZXktMzItYnl0ZXM=")

from config.settings import *  # noqa: E402, F403
from config.settings import CACHES, DATABASES, REST_FRAMEWORK, STORAGES, env  # noqa: E402

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
STORAGES = {**STORAGES, "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = True
ACCOUNT_RATE_LIMITS = False
if DATABASES["default"]["ENGINE"] == "config.sqlite3":
    # A file, not memory: threads and the writer meet the same locks as in production.
    DATABASES["default"]["TEST"] = {"NAME": str(_dir / "test.sqlite3")}
# Of this process alone as well: several test processes share one Redis.
CACHES = {"default": {**CACHES["default"], "KEY_PREFIX": _dir.name}}
if not env.raw("REDIS_URL"):
    CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
CELERY_TASK_ALWAYS_EAGER = False
REST_FRAMEWORK = {**REST_FRAMEWORK}
