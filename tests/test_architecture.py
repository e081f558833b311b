"""The rooms of the package: who may import whom, and by which door a library comes in."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = "flask_abpjobs"
ROOT = Path(__file__).parents[1] / PACKAGE
MODULES = sorted(ROOT.rglob("*.py"))

FLOORS = [
    {
        "version",
        "errors",
        "model",
        "moments",
        "ids",
        "cursors",
        "config",
        "arguments",
        "retry",
        "options",
        "recurrence",
        "signals",
    },
    {"jobs", "registry", "context"},
    {"storage"},
    {"engine"},
    {"manager", "recurring"},
    {"access"},
    {"dashboard"},
    {"cli", "embedded"},
    {"extension"},
    {""},  # the package itself: public names only
    {"testing"},
]
"""Rooms from the ground up. A room may import from its own floor and from those below."""

RANKS = {room: rank for rank, floor in enumerate(FLOORS) for room in floor}

DOORS = {
    "huey": {"storage", "engine"},
    "redis": {"storage.redis"},
    "hiredis": {"storage.redis"},
    "flask": {"context", "engine", "manager", "access", "dashboard", "cli", "embedded", "extension", "testing"},
    "flask_login": {"access"},
    "flask_wtf": {"dashboard"},
    "wtforms": {"dashboard"},
    "cronsim": {"recurrence"},
}
"""Where a library may be imported."""

FORBIDDEN_MODULES = {"pickle", "_pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle"}
FORBIDDEN_CALLS = {"eval", "exec"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_only_look_down(path: Path) -> None:
    room = room_of(name_of(path))
    assert room in RANKS, f"{PACKAGE}.{room} stands on no floor: give it one in FLOORS"
    for line, target in imports(path):
        if target.partition(".")[0] == PACKAGE:
            other = room_of(inside(target))
            assert other in RANKS, f"{path}:{line} imports {target}, which stands on no floor"
            assert RANKS[other] <= RANKS[room], f"{path}:{line}: {room} may not import {other}, which is above it"


def test_the_dashboard_never_sees_the_engine() -> None:
    for path in MODULES:
        if room_of(name_of(path)) == "dashboard":
            seen = [target for _, target in imports(path) if target.startswith(f"{PACKAGE}.engine")]
            assert not seen, f"{path} imports {seen}"


def test_no_two_rooms_import_each_other_in_a_circle() -> None:
    below: dict[str, set[str]] = {room: set() for room in RANKS}
    for path in MODULES:
        targets = {inside(target) for _, target in imports(path) if target.partition(".")[0] == PACKAGE}
        below[room_of(name_of(path))] |= {room_of(target) for target in targets} - {room_of(name_of(path))}
    resolved: set[str] = set()
    while ready := {room for room, targets in below.items() if room not in resolved and targets <= resolved}:
        resolved |= ready
    circle = set(below) - resolved
    assert not circle, f"these rooms import each other: {sorted(circle)}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_library_comes_in_by_its_door(path: Path) -> None:
    name = name_of(path)
    for line, target in imports(path):
        rooms = DOORS.get(target.partition(".")[0])
        if rooms is not None:
            is_door = any(name == room or name.startswith(f"{room}.") for room in rooms)
            assert is_door, f"{path}:{line}: {target} may be imported in {sorted(rooms)} only"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_nothing_stored_can_run_as_code(path: Path) -> None:
    for line, target in imports(path):
        assert target.partition(".")[0] not in FORBIDDEN_MODULES, f"{path}:{line} imports {target}"
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in FORBIDDEN_CALLS, f"{path}:{node.lineno} calls {node.func.id}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_module_has_at_most_400_lines(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400, f"{path} hides a second idea"


def test_an_import_of_a_room_above_would_be_seen(tmp_path: Path) -> None:
    source = tmp_path / "model.py"
    source.write_text(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n"
        "    from flask_abpjobs.cli import group\n"
        "def f():\n"
        "    from flask_abpjobs.engine import huey\n"
    )
    targets = [target for _, target in imports(source, name="model")]
    assert targets == ["typing.TYPE_CHECKING", "flask_abpjobs.engine.huey"]
    source.write_text("from . import errors\nfrom ..engine.huey import JobHuey\n")
    targets = [target for _, target in imports(source, name="storage.base")]
    assert targets == ["flask_abpjobs.storage.errors", "flask_abpjobs.engine.huey.JobHuey"]


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def name_of(path: Path) -> str:
    """Return a module's dotted name inside the package: ``storage.base``, ``storage``, or "" for the package."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix("__init__").rstrip(".")


def inside(target: str) -> str:
    """Return the known module that an absolute name lies in, without the package's name."""
    names = {name_of(path) for path in MODULES}
    name = target.removeprefix(PACKAGE).lstrip(".")
    while name and name not in names:
        name = name.rpartition(".")[0]
    return name


def room_of(name: str) -> str:
    return name.partition(".")[0]


def imports(path: Path, name: str | None = None) -> Iterator[tuple[int, str]]:
    """Yield line and absolute dotted name of all that a module imports when it runs, anywhere in it."""
    dotted = name_of(path) if name is None else name
    package = [PACKAGE, *filter(None, dotted.split("."))]
    if path.name != "__init__.py":
        package.pop()
    for node in run_time_nodes(parsed(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{source}.{alias.name}") for alias in node.names)


def run_time_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Walk a tree, but not into ``if TYPE_CHECKING:``."""
    yield node
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            for other in child.orelse:
                yield from run_time_nodes(other)
        else:
            yield from run_time_nodes(child)
