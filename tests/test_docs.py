"""The Python code of README.rst and of the documentation runs, and its tables tell what the code has.

All blocks of a page run in order, in one namespace and a folder of their own, as a reader would run them. Three marks
steer this:

* a block with ``:caption: name.py`` is written to that file instead, for later blocks to import;
* a comment ``.. run:`` holds code that readers do not see, such as making an app first;
* a comment ``.. not run: why`` above a block leaves that block out.
"""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import NamedTuple

import click
import pytest

import flask_abpjobs
from flask_abpjobs import cli
from flask_abpjobs.access import AbpJobsAuthorizationFilter
from flask_abpjobs.config import JobsConfig
from flask_abpjobs.dashboard.options import RIGHTS, DashboardOptions
from flask_abpjobs.model import TRANSITIONS, JobPriority, JobState

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
START = re.compile(r"( *)\.\. (?:code-block:: (?P<language>[\w-]+)|(?P<hidden>run:)|(?P<skipped>not run: \S.*))\s*$")

DRIVER = """
import json, pathlib, sys, types
sys.path.insert(0, "")
page = sys.modules["page"] = types.ModuleType("page")
for path, line, file, code in json.load(sys.stdin):
    if file:
        pathlib.Path(file).write_text(code, encoding="utf-8")
    else:
        exec(compile("\\n" * line + code, path, "exec"), page.__dict__)
"""


class Block(NamedTuple):
    path: str
    line: int
    """How many lines of the page come before the code."""
    file: str | None
    code: str


def blocks_of(page: Path) -> list[Block]:
    """Return the Python code of a page that is to run."""
    lines = page.read_text(encoding="utf-8").splitlines()
    found = []
    skip = False
    for number, line in enumerate(lines):
        start = START.match(line)
        if start is None:
            continue
        if start["skipped"]:
            skip = True
            continue
        indent = len(start[1])
        end = number + 1
        while end < len(lines) and (not lines[end].strip() or len(lines[end]) - len(lines[end].lstrip()) > indent):
            end += 1
        body = lines[number + 1 : end]
        options = {}
        first = 0
        while first < len(body) and (option := re.match(r"\s+:(\w+): (.*)", body[first])):
            options[option[1]] = option[2]
            first += 1
        if start["hidden"] or start["language"] == "python":
            if not skip:
                code = textwrap.dedent("\n".join(body[first:])) + "\n"
                found.append(Block(str(page), number + 1 + first, options.get("caption"), code))
            skip = False
    assert not skip, f"{page}: a block is marked as not run, but none follows"
    return found


PAGES = [page for page in [ROOT / "README.rst", *sorted(DOCS.rglob("*.rst"))] if blocks_of(page)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_code_of_a_page_runs(page: Path, tmp_path: Path) -> None:
    path = os.pathsep.join(filter(None, map(str, sys.path)))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", DRIVER],
        input=json.dumps(blocks_of(page)),
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr


def test_a_wrong_line_on_a_page_would_be_found(tmp_path: Path) -> None:
    page = tmp_path / "page.rst"
    page.write_text(
        "Title\n\n.. run:\n\n    a = 1\n\n.. code-block:: python\n    :caption: b.py\n\n    b = 2\n\n"
        ".. not run: it is wrong\n\n.. code-block:: python\n\n    1 / 0\n\nText.\n\n"
        ".. code-block:: python\n\n    import b\n\n    assert a == b.b\n\n.. code-block:: console\n\n    $ ls\n"
    )
    assert [(block.line, block.file, block.code.strip()) for block in blocks_of(page)] == [
        (3, None, "a = 1"),
        (8, "b.py", "b = 2"),
        (20, None, "import b\n\nassert a == b.b"),
    ]
    with pytest.raises(AssertionError, match=r'page\.rst", line 24'):
        test_the_code_of_a_page_runs(page, tmp_path)


def test_every_public_name_is_in_the_reference() -> None:
    text = (DOCS / "api.rst").read_text(encoding="utf-8")
    names = {name for name, value in vars(flask_abpjobs).items() if name[0] != "_" and not inspect.ismodule(value)}
    documented = set(re.findall(r"^\.\. (?:auto)?(?:class|function|exception|data):: (\w+)", text, re.M))
    assert documented & names == names


def test_every_setting_is_documented_with_its_default() -> None:
    rows = rows_of("configuration.rst")
    assert rows.keys() == {f"ABPJOBS_{field.upper()}" for field in JobsConfig.__struct_fields__}
    settings = JobsConfig.from_mapping({}, import_name="app")
    told_in_words = {"ABPJOBS_NAME", "ABPJOBS_WORKERS", "ABPJOBS_TESTING"}
    for field in JobsConfig.__struct_fields__:
        key = f"ABPJOBS_{field.upper()}"
        value = getattr(settings, field)
        value = list(value) if isinstance(value, tuple) else value
        if key not in told_in_words:
            assert _plain(rows[key][0]) == _plain(json.dumps(value)), key


def test_every_dashboard_option_and_right_is_documented() -> None:
    text = (DOCS / "dashboard.rst").read_text(encoding="utf-8")
    for name in [*DashboardOptions.__struct_fields__, *RIGHTS]:
        assert f"``{name}``" in text, name
    for name in ("enable_tenant", "required_permission", "required_roles"):
        assert hasattr(AbpJobsAuthorizationFilter(), name)
        assert f"``{name}``" in text, name


def test_every_state_is_documented_with_what_may_follow() -> None:
    rows = rows_of("lifecycle.rst")
    for state in JobState:
        following = {other for other in JobState if f"``{other}``" in rows[state][1]}
        assert following == TRANSITIONS[state], state


def test_every_priority_is_documented() -> None:
    rows = rows_of("jobs.rst")
    assert {priority.name: rows[priority.name] for priority in JobPriority} == {
        priority.name: [str(int(priority))] for priority in JobPriority
    }


def test_every_command_is_documented_with_its_options() -> None:
    text = (DOCS / "cli.rst").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^([a-z]+)\n~+\n(.*?)(?=^[a-z]+\n~+\n|\Z)", text, re.M | re.S))
    group = cli.create_group()
    assert sections.keys() == group.commands.keys()
    for name, command in group.commands.items():
        inner = command.commands.values() if isinstance(command, click.Group) else ()
        for each in inner:
            assert f"``{name} {each.name}" in sections[name], f"{name} {each.name}"
        for parameter in [parameter for each in (command, *inner) for parameter in each.params]:
            if isinstance(parameter, click.Option):
                longest = max(parameter.opts, key=len)
                assert f"``{longest}" in sections[name] or f", {longest}" in sections[name], f"{name} {longest}"


def rows_of(page: str) -> dict[str, list[str]]:
    """Return the list tables of a page: the cells of each row by the literal in its first cell."""
    rows: dict[str, list[str]] = {}
    cells: list[str] = []
    for line in (DOCS / page).read_text(encoding="utf-8").splitlines():
        if row := re.match(r" +\* - (?:``(\w+)``$)?", line):
            cells = rows.setdefault(row[1], []) if row[1] else []
        elif cell := re.match(r" +- (.*)", line):
            cells.append(cell[1])
        elif line.startswith(" ") and cells:
            cells[-1] += f" {line.strip()}"
        elif line.strip():
            cells = []
    return rows


def _plain(text: str) -> str:
    """Return JSON and Python literals in one spelling."""
    text = text.strip("`").replace('"', "").replace("_", "").lower()
    return {"null": "none"}.get(text, text.removesuffix(".0"))
