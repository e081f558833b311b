"""The storage contract on Redis and Valkey."""

from .verbs import RedisJobStorage as RedisJobStorage
