"""The settings of jobs and of single enqueues."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flask_abpjobs.errors import ConfigError
from flask_abpjobs.model import ParentEnd, Retention
from flask_abpjobs.options import DEFAULT_OPTIONS, MAX_KEY, JobOptions, check_key, filled_key
from flask_abpjobs.retry import RetryPolicy


def changed(**settings: Any) -> JobOptions:
    return DEFAULT_OPTIONS.changed(**settings)


class TestChecking:
    @pytest.mark.parametrize("name", ["delay", "timeout", "expires", "unique_for"])
    def test_a_duration_is_seconds_or_a_timedelta(self, name: str) -> None:
        more = {"unique_key": "k"} if name == "unique_for" else {}
        assert getattr(changed(**{name: 1.5}, **more), name) == timedelta(seconds=1.5)
        assert getattr(changed(**{name: timedelta(hours=1)}, **more), name) == timedelta(hours=1)

    @pytest.mark.parametrize(
        ("settings", "words"),
        [
            ({"colour": 1}, "There is no option colour; there are queue, "),
            ({"timeout": 0}, "timeout is datetime.timedelta(0): use seconds or a timedelta, more than none"),
            ({"expires": -1}, "expires is "),
            ({"expires": "soon"}, "expires is 'soon'"),
            ({"timeout": 1e12}, "timeout is "),
            ({"max_concurrent": 0}, "max_concurrent is 0: use a number from 1 to 100,000."),
            ({"max_concurrent": True}, "max_concurrent is True"),
            ({"concurrency_key": "x"}, "give max_concurrent, too"),
            ({"unique_for": 5}, "give the key, too"),
            ({"unique_key": ""}, "unique_key is ''"),
            ({"unique_key": "x" * (MAX_KEY + 1)}, "unique_key is "),
            ({"retention": -timedelta(1)}, "retention is "),
            ({"retention": 5}, "retention is 5: use a timedelta, or a Retention."),
            ({"on": "succeeded"}, "give its id as after"),
            ({"after": "x", "on": "failed"}, "on is 'failed': use succeeded, deleted or finished."),
            ({"after": ""}, "after is ''"),
            ({"delay": 1, "eta": datetime.now(UTC)}, "Give delay or eta, not both."),
            ({"eta": datetime(2026, 1, 1)}, "eta is "),
            ({"eta": datetime(9999, 12, 31, tzinfo=UTC)}, "eta is "),
            ({"tenant": ""}, "tenant is empty"),
            ({"tenant": 7}, "tenant is 7"),
            ({"queue": "a b"}, "queue is 'a b'"),
            ({"priority": "high"}, "priority is 'high'"),
            ({"retry": 3}, "retry is 3: use a RetryPolicy."),
        ],
        ids=range(24),
    )
    def test_what_does_not_fit_is_refused_in_words(self, settings: dict[str, Any], words: str) -> None:
        with pytest.raises(ConfigError) as refused:
            changed(**settings)
        assert words in str(refused.value)

    def test_an_end_may_be_given_as_text(self) -> None:
        assert changed(after="x", on="finished").on is ParentEnd.FINISHED


class TestMerging:
    def test_an_enqueue_wins_over_the_job_and_the_job_over_nothing(self) -> None:
        of_job = changed(queue="a", timeout=5, retry=RetryPolicy.none(), retention=Retention())
        merged = changed(queue="b", delay=3).over(of_job)
        assert (merged.queue, merged.delay, merged.timeout) == ("b", timedelta(seconds=3), timedelta(seconds=5))
        assert DEFAULT_OPTIONS.over(of_job) is of_job

    def test_no_tenant_is_something_one_can_say(self) -> None:
        assert changed(tenant=None).over(changed(queue="a")).tenant is None


class TestKeys:
    def test_fields_are_filled_in(self) -> None:
        assert filled_key("report:{customer_id}:{day:%Y}", {"customer_id": 7, "day": datetime(2026, 1, 1)}) == (
            "report:7:2026"
        )

    def test_unknown_fields_are_refused_where_the_job_is_declared(self) -> None:
        with pytest.raises(ConfigError, match=r"has \{customer\}; the fields are customer_id, tenant_id"):
            check_key("report:{customer}", ["customer_id"])
        with pytest.raises(ConfigError, match="cannot be read"):
            check_key("report:{customer", ["customer"])
        check_key("{a.b}:{c[0]}:{tenant_id}", ["a", "c"])

    def test_a_value_that_cannot_be_formatted_is_an_error(self) -> None:
        with pytest.raises(ConfigError, match="cannot be filled in: ValueError"):
            filled_key("{a:%%}", {"a": 1})

    def test_long_keys_are_shortened_and_still_differ(self) -> None:
        one, other = (filled_key("{a}", {"a": "x" * 5_000 + end}) for end in ("1", "2"))
        assert len(one) == len(other) == MAX_KEY
        assert one != other
