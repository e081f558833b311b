"""What FlexiQ's worker processes import."""

from __future__ import annotations

from ..place import Place
from .flexiq import OnRedis, OnSqlite

on_redis = OnRedis(Place.from_environment()).queue
on_sqlite = OnSqlite(Place.from_environment()).queue
