"""Where a Redis is: the URLs, and the connections they lead to."""

from __future__ import annotations

from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from redis import ConnectionPool
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.retry import Retry
from redis.sentinel import Sentinel

from ...errors import ConfigError

TIMEOUT: Final = 2.0
"""Seconds after which a server that does not answer is an error."""
DEFAULT_PORT: Final = 6379
SENTINEL_PORT: Final = 26379
_PLAIN: Final = ("redis", "rediss", "unix")


class Address(NamedTuple):
    """A URL taken apart."""

    url: str
    kind: str
    """``server``, ``sentinel`` or ``cluster``."""
    place: str
    """What people read: without credentials."""


def parse_address(url: str) -> Address:
    """Return the address in a URL; :func:`~flask_abpjobs.storage.open_storage` lists the forms.

    :raises ConfigError: the URL is of none of the forms.
    """
    try:
        parts = urlsplit(url)
        port = parts.port if "," not in parts.netloc else None
    except ValueError:  # its text may have a part of the password
        raise ConfigError(
            "A Redis URL cannot be read: its port is no number, or its password has a character to be "
            "percent-encoded, such as / or # or @."
        ) from None
    base, plus, mode = parts.scheme.partition("+")
    if base not in _PLAIN or (plus and (mode not in {"sentinel", "cluster"} or base == "unix")):
        raise ConfigError(f"The Redis URL scheme {parts.scheme!r} is not known.")
    hosts = parts.netloc.rpartition("@")[2]
    if base == "unix":
        if not parts.path:
            raise ConfigError("A Redis URL of a socket names its file: unix:///path/to/redis.sock.")
        return Address(url, "server", unquote(parts.path))
    if mode == "sentinel":
        service, _, database = parts.path.strip("/").partition("/")
        if not service or not hosts or (database and not database.isdecimal()):
            raise ConfigError("A Sentinel URL is redis+sentinel://[:password@]host:port[,host:port]/service[/db].")
        return Address(url, "sentinel", f"{service} of {hosts}")
    if mode == "cluster":
        return Address(url, "cluster", hosts or f"localhost:{DEFAULT_PORT}")
    database = parse_qs(parts.query).get("db", [parts.path.strip("/") or "0"])[0]
    if not database.isdecimal():
        raise ConfigError(f"The database of a Redis URL is a number, not {database!r}.")
    return Address(url, "server", f"{parts.hostname or 'localhost'}:{port or DEFAULT_PORT}/{database}")


def options(timeout: float) -> dict[str, Any]:
    """Return what every connection is opened with: nothing is repeated behind our back, nothing waits for ever."""
    return {
        "socket_timeout": timeout,
        "socket_connect_timeout": TIMEOUT,
        "socket_keepalive": True,
        "retry": Retry(NoBackoff(), 0),
        "health_check_interval": 0,
        "protocol": 2,
    }


def make_pool(address: Address) -> ConnectionPool:
    """Return a maker of connections to a single server, or to the master that sentinels name."""
    given = options(TIMEOUT)
    if address.kind == "server":
        if address.url.startswith("unix"):
            given.pop("socket_keepalive")
        return ConnectionPool.from_url(address.url, **given)
    parts = urlsplit(address.url)
    credentials, _, hosts = parts.netloc.rpartition("@")
    user, _, password = credentials.partition(":")
    service, _, database = parts.path.strip("/").partition("/")
    if password:
        given |= {"password": unquote(password)}
    if user:
        given |= {"username": unquote(user)}
    if parts.scheme.startswith("rediss"):
        given |= {"ssl": True}
    sentinels = [_host_and_port(host, SENTINEL_PORT) for host in hosts.split(",")]
    patience = {"socket_timeout": 0.5, "socket_connect_timeout": 0.5}
    watching = Sentinel(sentinels, sentinel_kwargs=patience, **given)  # type: ignore[no-untyped-call]
    master = watching.master_for(service, db=int(database or 0))  # type: ignore[no-untyped-call]
    pool: ConnectionPool = master.connection_pool
    return pool


def make_cluster(address: Address) -> RedisCluster:
    """Return a client of a cluster."""
    parts = urlsplit(address.url)
    hosts = parts.netloc.rpartition("@")[2] or "localhost"
    given = options(TIMEOUT) | {"ssl": parts.scheme.startswith("rediss")}
    if not given["ssl"]:
        given.pop("ssl")
    credentials = {"username": parts.username, "password": parts.password}
    given |= {name: unquote(value) for name, value in credentials.items() if value}
    given.pop("health_check_interval")
    places = [_host_and_port(host, DEFAULT_PORT) for host in hosts.split(",")]
    nodes = [ClusterNode(*place) for place in places]  # type: ignore[no-untyped-call]
    return RedisCluster(startup_nodes=nodes, **given)


def _host_and_port(text: str, default: int) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon:
        return text, default
    if not port.isdecimal():
        raise ConfigError(f"{text!r} in a Redis URL is no host and port.")
    return host or "localhost", int(port)
