"""What every test may use."""

from tests.people import *  # noqa: F403
from tests.live_server import server  # noqa: F401
