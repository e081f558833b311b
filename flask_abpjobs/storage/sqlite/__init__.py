"""The storage contract on SQLite."""

from .verbs import SqliteJobStorage as SqliteJobStorage
