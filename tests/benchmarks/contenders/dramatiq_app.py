"""What Dramatiq's worker processes import."""

from __future__ import annotations

from ..place import Place
from .dramatiq import Dramatiq

broker = Dramatiq(Place.from_environment()).broker
