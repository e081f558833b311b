"""The settings: read once, each checked, and a wrong one named with what is right."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

from flask_abpjobs import AbpJobs
from flask_abpjobs.config import JobsConfig, default_workers
from flask_abpjobs.errors import ConfigError
from flask_abpjobs.model import Retention


def read(**settings: Any) -> JobsConfig:
    return JobsConfig.from_mapping({f"ABPJOBS_{name.upper()}": value for name, value in settings.items()})


def refusal(**settings: Any) -> str:
    with pytest.raises(ConfigError) as refused:
        read(**settings)
    return str(refused.value)


def test_an_empty_configuration_has_the_documented_defaults() -> None:
    config = JobsConfig.from_mapping({}, import_name="shop")
    assert {field: getattr(config, field) for field in config.__struct_fields__} == {
        "storage_url": "sqlite:///abpjobs.db",
        "name": "shop",
        "execution_enabled": True,
        "embedded_worker": False,
        "queues": ("default",),
        "default_queue": "default",
        "queue_prefix": "",
        "manager": "",
        "default_retry": None,
        "capture_logs": False,
        "workers": default_workers(),
        "worker_type": "thread",
        "heartbeat_seconds": 5.0,
        "server_timeout_seconds": 30.0,
        "shutdown_timeout_seconds": 15.0,
        "succeeded_retention_seconds": 86_400.0,
        "deleted_retention_seconds": 86_400.0,
        "failed_retention_seconds": None,
        "succeeded_retention_count": None,
        "deleted_retention_count": None,
        "failed_retention_count": None,
        "dashboard_path": "/jobs",
        "dashboard_title": "Background jobs",
        "dashboard_poll_seconds": 2.0,
        "dashboard_page_size": 20,
        "dashboard_read_only": False,
        "testing": False,
    }


def test_the_default_of_workers_is_hangfires(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {}
    for processors in (1, 3, 4, 64, None):
        monkeypatch.setattr(os, "cpu_count", lambda number=processors: number)
        found[processors] = default_workers()
    assert found == {1: 5, 3: 15, 4: 20, 64: 20, None: 5}


def test_settings_of_others_are_left_alone() -> None:
    assert JobsConfig.from_mapping({"SECRET_KEY": "x", "ABPJOB_WORKERS": 3, "MY_ABPJOBS_X": 1}).workers == (
        default_workers()
    )


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("ABPJOBS_STORAGE_URI", "There is no setting ABPJOBS_STORAGE_URI. Did you mean ABPJOBS_STORAGE_URL?"),
        ("ABPJOBS_WORKER", "There is no setting ABPJOBS_WORKER. Did you mean ABPJOBS_WORKERS?"),
        ("ABPJOBS_QUEUE", "There is no setting ABPJOBS_QUEUE. Did you mean ABPJOBS_QUEUES?"),
        ("ABPJOBS_workers", "There is no setting ABPJOBS_workers. Did you mean ABPJOBS_WORKERS?"),
        ("ABPJOBS_", "There is no setting ABPJOBS_. Did you mean ABPJOBS_NAME?"),
    ],
)
def test_an_unknown_key_names_the_nearest(key: str, words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        JobsConfig.from_mapping({key: 1})
    assert str(refused.value) == words


def test_a_key_that_is_near_to_none_gets_the_list() -> None:
    key = "ABPJOBS_" + "Q" * 40
    with pytest.raises(ConfigError, match=rf"^There is no setting {key}\. Known keys: ABPJOBS_CAPTURE_LOGS, "):
        JobsConfig.from_mapping({key: 1})


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("workers", "4", 4),
        ("heartbeat_seconds", "0.5", 0.5),
        ("dashboard_page_size", "50", 50),
        ("succeeded_retention_seconds", "60", 60.0),
        ("succeeded_retention_seconds", "null", None),
        ("execution_enabled", "false", False),
        ("execution_enabled", "0", False),
        ("embedded_worker", "True", True),
        ("embedded_worker", "1", True),
        ("dashboard_read_only", "true", True),
        ("testing", "true", True),
        ("queues", "alpha", ("alpha",)),
        ("queues", "alpha, default", ("alpha", "default")),
    ],
)
def test_texts_of_the_environment_are_understood(field: str, text: str, value: Any) -> None:
    read_value = getattr(read(**{field: text}), field)
    assert read_value == value
    assert type(read_value) is type(value)


def test_flasks_own_reading_of_the_environment_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLASK_ABPJOBS_WORKERS", "4")
    monkeypatch.setenv("FLASK_ABPJOBS_QUEUES", '["mail", "default"]')
    monkeypatch.setenv("FLASK_ABPJOBS_FAILED_RETENTION_SECONDS", "null")
    monkeypatch.setenv("FLASK_ABPJOBS_TESTING", "true")
    shop = Flask("shop")
    shop.config.from_prefixed_env()
    AbpJobs(shop, dashboard=None)
    config = shop.extensions["abpjobs"].config
    assert (config.workers, config.queues, config.failed_retention_seconds, config.testing) == (
        4,
        ("mail", "default"),
        None,
        True,
    )


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("storage_url", 5, "ABPJOBS_STORAGE_URL is 5: Expected `str`, got `int`."),
        ("name", "", "ABPJOBS_NAME is '': use 1 to 128 letters, digits and _ . : -."),
        ("name", "a b", "ABPJOBS_NAME is 'a b': use 1 to 128 letters, digits and _ . : -."),
        ("name", "a\n", "ABPJOBS_NAME is 'a\\n': use 1 to 128 letters, digits and _ . : -."),
        ("name", "x" * 129, f"ABPJOBS_NAME is '{'x' * 129}': use 1 to 128 letters, digits and _ . : -."),
        ("execution_enabled", "maybe", "ABPJOBS_EXECUTION_ENABLED is 'maybe': Expected `bool`, got `str`."),
        ("execution_enabled", None, "ABPJOBS_EXECUTION_ENABLED is None: Expected `bool`, got `null`."),
        ("embedded_worker", 2, "ABPJOBS_EMBEDDED_WORKER is 2: Expected `bool`, got `int`."),
        ("queues", [], "ABPJOBS_QUEUES is (): name at least one queue, first served first."),
        ("queues", " , ", "ABPJOBS_QUEUES is (): name at least one queue, first served first."),
        ("queues", ["a", "b", "a"], "ABPJOBS_QUEUES is ('a', 'b', 'a'): name each queue once."),
        ("queues", ["a b"], "ABPJOBS_QUEUES is ('a b',): a queue name has 1 to 64 letters, digits and _ . -."),
        ("queues", [1], "ABPJOBS_QUEUES is [1]: Expected `str`, got `int`."),
        ("queues", 5, "ABPJOBS_QUEUES is 5: Expected `array`, got `int`."),
        ("default_queue", "", "ABPJOBS_DEFAULT_QUEUE is '': use 1 to 64 letters, digits and _ . -."),
        ("default_queue", "a/b", "ABPJOBS_DEFAULT_QUEUE is 'a/b': use 1 to 64 letters, digits and _ . -."),
        ("workers", 0, "ABPJOBS_WORKERS is 0: use a number from 1 to 1000."),
        ("workers", 1001, "ABPJOBS_WORKERS is 1001: use a number from 1 to 1000."),
        ("workers", "many", "ABPJOBS_WORKERS is 'many': Expected `int`, got `str`."),
        ("workers", 2.5, "ABPJOBS_WORKERS is 2.5: Expected `int`, got `float`."),
        ("worker_type", "fork", "ABPJOBS_WORKER_TYPE is 'fork': use one of thread, process, greenlet."),
        ("heartbeat_seconds", 0, "ABPJOBS_HEARTBEAT_SECONDS is 0.0: use 0.1 to 3600 seconds."),
        ("heartbeat_seconds", "nan", "ABPJOBS_HEARTBEAT_SECONDS is nan: use 0.1 to 3600 seconds."),
        (
            "server_timeout_seconds",
            9.9,
            "ABPJOBS_SERVER_TIMEOUT_SECONDS is 9.9: use at least two heartbeats of 5 s.",
        ),
        ("shutdown_timeout_seconds", -1, "ABPJOBS_SHUTDOWN_TIMEOUT_SECONDS is -1.0: use 0 to 3600 seconds."),
        ("shutdown_timeout_seconds", 3601, "ABPJOBS_SHUTDOWN_TIMEOUT_SECONDS is 3601.0: use 0 to 3600 seconds."),
        (
            "succeeded_retention_seconds",
            -1,
            "ABPJOBS_SUCCEEDED_RETENTION_SECONDS is -1.0: use seconds, or None for ever.",
        ),
        (
            "deleted_retention_seconds",
            float("inf"),
            "ABPJOBS_DELETED_RETENTION_SECONDS is inf: use seconds, or None for ever.",
        ),
        (
            "failed_retention_seconds",
            "never",
            "ABPJOBS_FAILED_RETENTION_SECONDS is 'never': Expected `float | null`, got `str`.",
        ),
        (
            "dashboard_path",
            "jobs",
            "ABPJOBS_DASHBOARD_PATH is 'jobs': start with one slash and name a place below it, like \"/jobs\".",
        ),
        (
            "dashboard_path",
            "//evil.example",
            "ABPJOBS_DASHBOARD_PATH is '//evil.example': "
            'start with one slash and name a place below it, like "/jobs".',
        ),
        (
            "dashboard_path",
            "/",
            "ABPJOBS_DASHBOARD_PATH is '/': start with one slash and name a place below it, like \"/jobs\".",
        ),
        ("dashboard_title", 5, "ABPJOBS_DASHBOARD_TITLE is 5: Expected `str`, got `int`."),
        ("dashboard_poll_seconds", 0.4, "ABPJOBS_DASHBOARD_POLL_SECONDS is 0.4: use 0.5 to 3600 seconds."),
        ("dashboard_page_size", 0, "ABPJOBS_DASHBOARD_PAGE_SIZE is 0: use 1 to 100."),
        ("dashboard_page_size", 101, "ABPJOBS_DASHBOARD_PAGE_SIZE is 101: use 1 to 100."),
        ("dashboard_read_only", "never", "ABPJOBS_DASHBOARD_READ_ONLY is 'never': Expected `bool`, got `str`."),
        ("testing", "maybe", "ABPJOBS_TESTING is 'maybe': Expected `bool`, got `str`."),
    ],
    ids=lambda value: None if isinstance(value, str) and " is " in value else str(value)[:30],
)
def test_a_wrong_value_is_refused_by_its_key_with_what_is_right(field: str, value: Any, words: str) -> None:
    assert refusal(**{field: value}) == words


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("workers", 1),
        ("workers", 1000),
        ("heartbeat_seconds", 0.1),
        ("server_timeout_seconds", 10),
        ("shutdown_timeout_seconds", 0),
        ("succeeded_retention_seconds", 0),
        ("dashboard_page_size", 100),
        ("dashboard_poll_seconds", 0.5),
        ("dashboard_path", "/admin/jobs/"),
        ("name", "x" * 128),
        ("worker_type", "process"),
        ("worker_type", "greenlet"),
    ],
)
def test_the_bounds_themselves_are_allowed(field: str, value: Any) -> None:
    assert getattr(read(**{field: value}), field) == value


def test_every_key_has_a_check_of_its_type() -> None:
    for field in JobsConfig.__struct_fields__:
        assert refusal(**{field: object()}).startswith(f"ABPJOBS_{field.upper()} is <object object at")


@pytest.mark.parametrize(
    ("import_name", "name"), [("shop", "shop"), ("my app/é", "my_app__"), ("", "abpjobs"), ("x" * 200, "x" * 128)]
)
def test_the_name_comes_from_the_import_name(import_name: str, name: str) -> None:
    assert JobsConfig.from_mapping({}, import_name=import_name).name == name


def test_testing_follows_the_app_unless_told_otherwise() -> None:
    assert JobsConfig.from_mapping({"TESTING": True}).testing
    assert not JobsConfig.from_mapping({"TESTING": True, "ABPJOBS_TESTING": False}).testing
    assert JobsConfig.from_mapping({"ABPJOBS_TESTING": True}).testing


def test_retention_is_what_the_seconds_say() -> None:
    assert read().retention == Retention(succeeded=timedelta(days=1), deleted=timedelta(days=1), failed=None)
    retention = read(
        succeeded_retention_seconds=None, deleted_retention_seconds=0, failed_retention_seconds=1.5
    ).retention
    assert retention == Retention(succeeded=None, deleted=timedelta(0), failed=timedelta(seconds=1.5))


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        read().workers = 5  # type: ignore[misc]
