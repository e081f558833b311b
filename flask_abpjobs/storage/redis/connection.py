"""Connections to Redis: one round trip for each call, nothing repeated that is not safe, and errors in words."""

from __future__ import annotations

import os
import select
import time
import weakref
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from hiredis import pack_command
from redis import ConnectionPool, exceptions
from redis.cluster import RedisCluster

from ...errors import StorageError
from .address import Address, make_cluster, make_pool
from .scripts import Script

Argument = bytes | str | int | float
CLOCK_LASTS: Final = 30.0
"""Seconds for which one look at the server's clock is good."""
CLOCK_DIFFERS: Final = 0.5
"""Seconds by which our idea of the server's clock may be wrong: after a failover another machine's clock counts."""
MAX_IDLE: Final = 32
_FAILURES: Final = (exceptions.RedisError, OSError)


class Wire:
    """Calls scripts and commands on the Redis at an address, from any thread of any process.

    :param prefix: that of all keys, which every script is given as its one key.
    """

    def __init__(self, address: Address, prefix: bytes) -> None:
        self.address = address
        self.prefix = prefix
        self._line: ServerLine | None = None
        self._scripts: dict[str, Script] = {}
        self._offset: float | None = None
        self._measured_at = 0.0
        _wires.add(self)

    def call(self, verb: str, *arguments: Argument) -> Any:
        """Run a verb's script: one round trip, two when the server does not know the script.

        :raises StorageError: the server did not do it, or did not say whether it did.
        """
        script = self._scripts.get(verb) or self._scripts.setdefault(verb, Script(verb))
        try:
            return self.line.send((b"EVALSHA", script.digest, 1, self.prefix, *arguments))
        except exceptions.NoScriptError:
            return self.command(b"EVAL", script.text, 1, self.prefix, *arguments)
        except _FAILURES as error:
            raise self._explained(error) from error

    def call_again(self, verb: str, *arguments: Argument) -> Any:
        """Run a script that does no more when it is run twice: a cut connection is tried a second time."""
        try:
            return self.call(verb, *arguments)
        except StorageError as error:
            if not is_cut(error):
                raise
            return self.call(verb, *arguments)

    def call_ahead(self, verb: str, calls: Iterable[Sequence[Argument]]) -> None:
        """Run a verb's script once for each of the calls; each is prepared while the server does the one before.

        :raises StorageError: one failed, and maybe others; those before it were done.
        """
        script = self._scripts.get(verb) or self._scripts.setdefault(verb, Script(verb))
        head = (b"EVALSHA", script.digest, 1, self.prefix)
        try:
            self.line.send_ahead((*head, *arguments) for arguments in calls)
        except _FAILURES as error:
            raise self._explained(error) from error

    def command(self, *arguments: Argument) -> Any:
        """Run one command. One that waits must wait for less than :data:`~.address.TIMEOUT`."""
        try:
            return self.line.send(arguments)
        except _FAILURES as error:
            raise self._explained(error) from error

    def scan(self, kind: bytes) -> Iterator[bytes]:
        """Yield the rest of every key that begins with our prefix and ``kind``, page by page."""
        escaped = b"".join(b"\\" + bytes([byte]) if byte in b"*?[]\\^-" else bytes([byte]) for byte in self.prefix)
        try:
            for key in self.line.scan(escaped + kind + b"*"):
                yield key[len(self.prefix) + len(kind) :]
        except _FAILURES as error:
            raise self._explained(error) from error

    def now(self) -> float:
        """Return the server's clock in epoch seconds: its last known distance from ours, which costs no round trip."""
        monotonic = time.monotonic()
        if self._offset is None or monotonic - self._measured_at > CLOCK_LASTS:
            try:
                self._measure()
            except StorageError:
                if self._offset is None:
                    raise
                self._measured_at = monotonic  # the old distance is still a good one; whoever acts will meet the error
        assert self._offset is not None
        return time.monotonic() + self._offset

    def hear(self, at: float) -> None:
        """Hear what the server's clock said a moment ago; if ours says much else, the next question measures anew."""
        if self._offset is not None and abs(time.monotonic() + self._offset - at) > CLOCK_DIFFERS:
            self._measured_at = -CLOCK_LASTS

    def close(self) -> None:
        """Close the connections that are not in use; the next call opens new ones."""
        line, self._line = self._line, None
        if line is not None:
            line.close()

    @property
    def line(self) -> ServerLine:
        """The way to the server, opened when first used."""
        line = self._line
        if line is None:
            is_cluster = self.address.kind == "cluster"
            line = ClusterLine(self.address, self.prefix) if is_cluster else ServerLine(self.address)
            self._line = line
        return line

    def _measure(self) -> None:
        seconds, micros = self.call("time")
        self._measured_at = time.monotonic()
        # Late by the way of the answer, never early: what we stamp is before what the server stamps after it
        self._offset = int(seconds) + int(micros) / 1e6 - self._measured_at

    def _explained(self, error: Exception) -> StorageError:
        return StorageError(explain(error, self.address.place))

    def _forget(self) -> None:
        """Forget the connections of the process this one was forked from, without a word to the server."""
        self._line = None


class ServerLine:
    """Connections to one server: taken from a stack, and put back after the answer."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._pool: ConnectionPool | None = None
        self._idle: list[Any] = []

    def send(self, arguments: Sequence[Argument]) -> Any:
        connection = self._take()
        try:
            _put(connection, arguments)
            answer = connection.read_response(disable_decoding=True)
        except exceptions.ResponseError:
            self._give(connection)
            raise
        except BaseException:
            connection.disconnect()
            raise
        self._give(connection)
        return answer

    def send_ahead(self, commands: Iterable[Sequence[Argument]]) -> None:
        """Send commands, each before the answer to the one before is read."""
        connection = self._take()
        under_way, refusal = 0, None
        try:
            for arguments in commands:
                _put(connection, arguments)
                under_way += 1
                if under_way > 1:
                    under_way -= 1
                    connection.read_response(disable_decoding=True)
        except exceptions.ResponseError as error:
            refusal = error
        except BaseException:
            connection.disconnect()
            raise
        for _ in range(under_way):
            try:
                connection.read_response(disable_decoding=True)
            except exceptions.ResponseError as error:
                refusal = refusal or error
            except BaseException:
                connection.disconnect()
                raise
        self._give(connection)
        if refusal is not None:
            raise refusal

    def scan(self, pattern: bytes) -> Iterator[bytes]:
        cursor = b"0"
        while True:
            cursor, keys = self.send((b"SCAN", cursor, b"MATCH", pattern, b"COUNT", 1000))
            yield from keys
            if cursor == b"0":
                return

    def close(self) -> None:
        while self._idle:
            self._idle.pop().disconnect()

    def _take(self) -> Any:
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                connection = self._connect()
                connection.connect()
                return connection
            if _is_quiet(connection):
                return connection
            connection.disconnect()  # the server closed it while it lay here

    def _connect(self) -> Any:
        if self._pool is None:
            self._pool = make_pool(self._address)
        return self._pool.make_connection()

    def _give(self, connection: Any) -> None:
        if len(self._idle) < MAX_IDLE:
            self._idle.append(connection)
        else:
            connection.disconnect()


class ClusterLine(ServerLine):
    """Connections to that node of a cluster which has our keys: their hash tag puts them all on one.

    :param key: one of our keys.
    """

    def __init__(self, address: Address, key: bytes) -> None:
        super().__init__(address)
        self._key = key
        self._cluster: RedisCluster | None = None

    def send(self, arguments: Sequence[Argument]) -> Any:
        try:
            return super().send(arguments)
        except exceptions.MovedError:  # nothing was done there
            self.close()
            return super().send(arguments)
        except (exceptions.ConnectionError, exceptions.TimeoutError):
            self.close()  # another node may have taken over
            raise

    def close(self) -> None:
        super().close()
        cluster, self._cluster = self._cluster, None
        if cluster is not None:
            cluster.close()

    def _connect(self) -> Any:
        cluster = self._cluster
        if cluster is None:
            cluster = self._cluster = make_cluster(self._address)
        node = cluster.get_node_from_key(self._key.decode())  # type: ignore[no-untyped-call]
        if node is None:
            raise exceptions.ClusterDownError("CLUSTERDOWN no node has the slot of this application")
        return cluster.get_redis_connection(node).connection_pool.make_connection()


_wires: weakref.WeakSet[Wire] = weakref.WeakSet()


def _forget_all() -> None:
    for wire in list(_wires):
        wire._forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)


def _put(connection: Any, arguments: Sequence[Argument]) -> None:
    packed = pack_command(tuple(arguments))  # type: ignore[arg-type]  # its hints know a tuple of one
    connection.send_packed_command((packed,), check_health=False)


def _is_quiet(connection: Any) -> bool:
    """Return whether nothing waits to be read: what waits on an idle connection is its end."""
    sock = connection._sock
    if sock is None:
        return False
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return not poll.poll(0)


def is_cut(error: StorageError) -> bool:
    """Return whether the connection broke, so that nobody knows if the server has done what it was told."""
    cause = error.__cause__
    refusals = (exceptions.AuthenticationError, exceptions.BusyLoadingError)
    return isinstance(cause, exceptions.ConnectionError) and not isinstance(cause, refusals)


def is_undone(error: StorageError) -> bool:
    """Return whether the server did nothing, and will do it when it is sent the script or another node is asked."""
    return isinstance(error.__cause__, (exceptions.NoScriptError, exceptions.MovedError))


ADVICE: Final = (
    ("WRONGTYPE", "Another program uses keys of this application: give the application another name or database."),
    ("OOM", "Its memory is full and nothing was written. Raise maxmemory, or keep finished jobs for a shorter time."),
    ("read only replica", "Name its master, or use redis+sentinel://."),
    ("Authentication required", "It wants a password: write it into the URL, redis://:password@host."),
    ("NOAUTH", "It wants a password: write it into the URL, redis://:password@host."),
    ("invalid username-password", "Check user and password in the URL."),
    ("invalid password", "Check user and password in the URL."),
    ("without any password configured", "It has no password: take it out of the URL."),
    ("has no permissions", "Allow its user EVAL, EVALSHA and the keys of this application."),
    ("can't access", "Allow its user EVAL, EVALSHA and the keys of this application."),
    ("DB index is out of range", "It has fewer databases: check the number in the URL."),
    ("Redis is busy running a script", "A script of another program runs for too long there. SCRIPT KILL ends it."),
    ("loading the dataset", "It has just started: try again in a moment."),
    ("MISCONF", "It cannot write its snapshot to disk, and so refuses to write. Look at its log and its disk."),
    ("NOREPLICAS", "Too few of its replicas answer. Look after them, or lower min-replicas-to-write."),
    ("CLUSTERDOWN", "Its cluster is not whole. Look after its nodes."),
    ("slot not served", "It is a node of a cluster that is not whole. Look after its nodes, and use redis+cluster://."),
    ("MovedError", "It is a node of a cluster: use redis+cluster://."),
    ("CROSSSLOT", "It is a cluster: use redis+cluster://."),
)
"""Words in a refusal, and what to do. redis-py takes the code from some, so these go by other words or its class."""


def explain(error: Exception, place: str) -> str:
    """Return what failed, where, and what to do."""
    text = str(error).strip() or type(error).__name__
    code = "OOM" if isinstance(error, exceptions.OutOfMemoryError) else type(error).__name__
    for word, advice in ADVICE:
        if word.lower() in text.lower() or word == code:
            return f"Redis at {place} refused: {text.rstrip('.')}. {advice}"
    if isinstance(error, (exceptions.TimeoutError, TimeoutError)):
        return f"Redis at {place} did not answer in time ({text.rstrip('.')}). Is it running, and is it overloaded?"
    if isinstance(error, (exceptions.ConnectionError, OSError)):
        return f"Redis at {place} cannot be reached: {text.rstrip('.')}. Is it running, and is the address right?"
    return f"Redis at {place} failed: {text.rstrip('.')}."
