"""What is released, and the two commands that README.rst promises."""

from __future__ import annotations

import configparser
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import flask_abpjobs

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "flask_abpjobs"
REQUIRED = {"flask", "flask-login", "flask-wtf", "huey", "redis[hiredis]", "msgspec", "cronsim", "tzdata"}


@pytest.fixture(scope="module")
def distribution() -> importlib.metadata.Distribution:
    try:
        return importlib.metadata.distribution("Flask-AbpJobs")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("Flask-AbpJobs is not installed: pip install -e .")


@pytest.fixture(scope="module")
def setup() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def test_the_version_is_said_once_and_found_everywhere(
    distribution: importlib.metadata.Distribution, setup: configparser.ConfigParser
) -> None:
    version = setup["metadata"]["version"]
    assert flask_abpjobs.__version__ == distribution.version == version
    assert re.search(rf"^Version {re.escape(version)}$", (ROOT / "CHANGES.rst").read_text(), re.M)


def test_the_license_is_an_spdx_expression_and_travels_along(distribution: importlib.metadata.Distribution) -> None:
    assert distribution.metadata["License-Expression"] == "BSD-3-Clause"
    assert distribution.metadata.get_all("License-File") == ["LICENSE"]


def test_the_required_libraries_are_these_and_no_others(setup: configparser.ConfigParser) -> None:
    lines = setup["options"]["install_requires"].split()
    assert {re.split(r"[<>=]", line)[0] for line in lines} == REQUIRED


def test_every_file_of_the_package_is_released(distribution: importlib.metadata.Distribution) -> None:
    released = {str(file) for file in distribution.files or ()}
    if not any(name.startswith("flask_abpjobs/") for name in released):
        pytest.skip("an editable install has no copies")
    assert Path(flask_abpjobs.__file__) == Path(str(distribution.locate_file("flask_abpjobs/__init__.py")))
    sources = {
        path.relative_to(ROOT).as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    copies = {name for name in released if name.startswith("flask_abpjobs/") and "__pycache__" not in name}
    assert copies == sources


def test_only_the_package_is_released(distribution: importlib.metadata.Distribution) -> None:
    tops = {file.parts[0] for file in distribution.files or () if not file.parts[0].startswith("_")}
    assert {top for top in tops if not top.endswith(".dist-info")} <= {"flask_abpjobs", ".."}


def test_the_package_is_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()


@pytest.mark.parametrize("heading", ["Try it", "Run the tests"])
def test_a_readme_command_is_one_line_alone_in_its_block(heading: str) -> None:
    assert re.fullmatch(r"python3 -m venv \.venv && \S.*", command_under(heading))


def test_the_first_command_starts_the_example() -> None:
    assert command_under("Try it").endswith(".venv/bin/flask --app example run")


def test_the_second_command_runs_the_checks_that_tox_runs_by_default() -> None:
    assert command_under("Run the tests").endswith(".venv/bin/tox")
    tox = configparser.ConfigParser()
    tox.read(ROOT / "tox.ini", encoding="utf-8")
    default = [name.strip() for name in tox["tox"]["env_list"].split(",")]
    assert default == ["py", "lint", "typing", "docs"]
    assert "CI" in tox["testenv"]["pass_env"].split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is missing")
def test_the_ci_runs_the_command_of_the_readme() -> None:
    shown = subprocess.run([ROOT / ".ci" / "run", "--show"], capture_output=True, text=True, check=True, timeout=30)
    assert shown.stdout.strip() == command_under("Run the tests")


def test_the_ci_refuses_a_readme_without_the_command(tmp_path: Path) -> None:
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci" / "run")
    readme = (ROOT / "README.rst").read_text(encoding="utf-8")
    (tmp_path / "README.rst").write_text(readme.replace("Run the tests\n---", "Run tests\n---"), encoding="utf-8")
    shown = subprocess.run([tmp_path / ".ci" / "run", "--show"], capture_output=True, text=True, timeout=30)
    assert shown.returncode != 0
    assert "expected one command" in shown.stderr


@pytest.mark.parametrize("options", [[], ["-n", "2"]], ids=["alone", "in parallel"])
def test_a_run_tells_how_to_install_what_its_skipped_tests_need(tmp_path: Path, options: list[str]) -> None:
    done = run_without_tools(tmp_path, options, CI="")
    assert done.returncode == 0
    assert "2 skipped" in done.stdout
    assert "Chromium is missing: 1 test skipped. apt-get install chromium" in done.stdout
    assert "Node.js is missing: 1 test skipped. apt-get install nodejs" in done.stdout


def test_under_ci_a_test_without_its_tool_fails(tmp_path: Path) -> None:
    done = run_without_tools(tmp_path, [], CI="true")
    assert done.returncode == 1
    assert "Chromium is missing. apt-get install chromium" in done.stdout


def run_without_tools(folder: Path, options: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    """Run two tests that need programs, where the PATH has none."""
    shutil.copy(Path(__file__).with_name("conftest.py"), folder)
    (folder / "test_tools.py").write_text(
        "import pytest\ndef test_page(chromium_path): pass\n@pytest.mark.requires_node\ndef test_script(): pass\n"
    )
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-c", os.devnull, "--rootdir", folder, *options, folder],
        cwd=folder,
        env={**os.environ, **environment, "PATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=60,
    )


def command_under(heading: str) -> str:
    """Return the one line of the first code block below a heading of README.rst."""
    lines = iter((ROOT / "README.rst").read_text(encoding="utf-8").splitlines())
    for line in lines:
        if line == heading and set(next(lines)) == {"-"}:
            break
    for line in lines:
        if line.startswith(".. code-block::"):
            break
    block: list[str] = []
    for line in lines:
        if line.strip():
            if not line.startswith("    "):
                break
            block.append(line.strip())
    assert len(block) == 1, f"the block under {heading!r} has {len(block)} lines"
    return block[0]
