"""The values that all rooms share: ids, cursors, states, retention."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, strategies as st

from flask_abpjobs.cursors import decode_cursor, encode_cursor
from flask_abpjobs.ids import new_job_id, new_job_ids
from flask_abpjobs.model import (
    DELETABLE,
    REQUEUABLE,
    TRANSITIONS,
    JobPriority,
    JobProgress,
    JobQuery,
    JobRecord,
    JobState,
    Retention,
)

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


class TestIds:
    def test_an_id_is_a_ulid(self) -> None:
        assert re.fullmatch(r"[0-7][0-9A-HJKMNP-TV-Z]{25}", new_job_id())

    def test_its_first_half_is_the_time(self) -> None:
        assert new_job_id(1_469_918_176.385)[:10] == "01ARYZ6S41"  # the example of the ULID specification
        assert new_job_id(0.0)[:10] == "0000000000"

    @given(st.floats(0, 2e11), st.floats(0.001, 1e9))
    def test_later_ids_sort_behind_earlier_ones(self, at: float, later: float) -> None:
        if int(at * 1000) < int((at + later) * 1000):
            assert new_job_id(at) < new_job_id(at + later)

    def test_ids_of_one_moment_differ(self) -> None:
        assert len({new_job_id(1.0) for _ in range(10_000)}) == 10_000

    def test_ids_made_together_are_ulids_of_that_moment_and_differ(self) -> None:
        ids = new_job_ids(1_000, 1_469_918_176.385)
        assert len(set(ids)) == 1_000
        assert all(re.fullmatch(r"01ARYZ6S41[0-9A-HJKMNP-TV-Z]{16}", job_id) for job_id in ids)
        assert new_job_ids(0, 1.0) == []


class TestCursors:
    @given(st.floats(0, 1e12, exclude_max=True), st.from_regex(r"[ -~]{1,200}", fullmatch=True))
    def test_a_cursor_means_the_place_it_was_made_for(self, at: float, place: str) -> None:
        cursor = encode_cursor(at, place)
        assert re.fullmatch(r"[A-Za-z0-9_-]+", cursor)
        assert decode_cursor(cursor) == (at, place)

    @pytest.mark.parametrize(
        "cursor",
        [
            "",
            "x",
            "é",
            "\ud800",
            "\x00",
            "../../etc/passwd",
            "' OR 1=1 --",
            "A" * 100_000,
            encode_cursor(float("nan"), "1"),
            encode_cursor(float("inf"), "1"),
            encode_cursor(-1.0, "1"),
            encode_cursor(1e12, "1"),
            base64.urlsafe_b64encode(b"1.0").decode(),
            base64.urlsafe_b64encode(b"1.0/" + b"9" * 5_000).decode(),
            base64.urlsafe_b64encode("1.0/１".encode()).decode(),
        ],
        ids=range(15),
    )
    def test_what_we_did_not_make_is_refused(self, cursor: str) -> None:
        with pytest.raises(ValueError, match="is not a page cursor") as refused:
            decode_cursor(cursor)
        assert len(str(refused.value)) < 400

    @given(st.text(max_size=60))
    def test_hostile_text_is_a_place_or_refused_and_nothing_else(self, text: str) -> None:
        try:
            at, place = decode_cursor(text)
        except ValueError:
            return
        assert 0 <= at < 1e12
        assert place.isascii()


class TestStates:
    def test_every_state_has_its_transitions(self) -> None:
        assert set(TRANSITIONS) == set(JobState)
        for state, following in TRANSITIONS.items():
            assert following, f"{state} is a dead end"
            assert state not in following

    def test_a_job_comes_into_every_state_from_a_new_one(self) -> None:
        reached = {JobState.ENQUEUED, JobState.SCHEDULED, JobState.AWAITING}
        for _ in JobState:
            reached |= {following for state in reached for following in TRANSITIONS[state]}
        assert reached == set(JobState)

    def test_only_a_worker_begins_and_ends_a_job(self) -> None:
        assert {state for state, following in TRANSITIONS.items() if JobState.PROCESSING in following} == {
            JobState.ENQUEUED
        }
        assert {state for state, following in TRANSITIONS.items() if JobState.SUCCEEDED in following} == {
            JobState.PROCESSING
        }

    def test_a_person_may_requeue_all_that_neither_wait_in_the_queue_nor_run(self) -> None:
        assert set(JobState) - REQUEUABLE == {JobState.ENQUEUED, JobState.PROCESSING}
        for state in REQUEUABLE:
            assert JobState.ENQUEUED in TRANSITIONS[state]

    def test_a_person_may_delete_all_but_the_deleted(self) -> None:
        assert set(JobState) - DELETABLE == {JobState.DELETED}

    def test_names_and_numbers_are_those_of_hangfire_and_abp(self) -> None:
        assert [state.value for state in JobState] == (
            ["scheduled", "enqueued", "awaiting", "processing", "succeeded", "failed", "deleted"]
        )
        assert {priority.name: int(priority) for priority in JobPriority} == {
            "LOW": 5,
            "BELOW_NORMAL": 10,
            "NORMAL": 15,
            "ABOVE_NORMAL": 20,
            "HIGH": 25,
        }


class TestRecords:
    @pytest.mark.parametrize(
        ("state", "failures", "is_retrying"),
        [
            (JobState.SCHEDULED, 1, True),
            (JobState.SCHEDULED, 0, False),
            (JobState.ENQUEUED, 1, False),
            (JobState.FAILED, 1, False),
        ],
    )
    def test_a_job_is_retrying_while_it_is_scheduled_after_a_failure(
        self, state: JobState, failures: int, is_retrying: bool
    ) -> None:
        record = JobRecord(
            id="1", name="n", state=state, state_at=NOW, created_at=NOW, payload=b"{}", failures=failures
        )
        assert record.is_retrying is is_retrying

    def test_a_record_cannot_be_changed(self) -> None:
        record = JobRecord(id="1", name="n", state_at=NOW, created_at=NOW, payload=b"{}")
        with pytest.raises(AttributeError):
            record.state = JobState.FAILED  # type: ignore[misc]

    @pytest.mark.parametrize(
        ("done", "total", "percent"),
        [
            (0, 10, 0),
            (1, 3, 33),
            (10, 10, 100),
            (15, 10, 100),
            (-1, 10, 0),
            (5, None, None),
            (5, 0, None),
            (float("nan"), 10, None),
            (1e308, 1, 100),
            (5, -1, None),
        ],
    )
    def test_per_cent_are_whole_and_between_0_and_100(
        self, done: float, total: float | None, percent: int | None
    ) -> None:
        assert JobProgress(done, total).percent == percent

    @given(st.floats(allow_nan=False, allow_infinity=False), st.floats(0.001, 1e300))
    def test_per_cent_are_never_out_of_bounds(self, done: float, total: float) -> None:
        percent = JobProgress(done, total).percent
        assert percent is not None
        assert 0 <= percent <= 100

    @pytest.mark.parametrize(
        ("state", "newest_first"),
        [
            (None, True),
            (JobState.SUCCEEDED, True),
            (JobState.FAILED, True),
            (JobState.DELETED, True),
            (JobState.ENQUEUED, False),
            (JobState.SCHEDULED, False),
            (JobState.PROCESSING, False),
            (JobState.AWAITING, False),
        ],
    )
    def test_finished_jobs_read_newest_first(self, state: JobState | None, newest_first: bool) -> None:
        assert JobQuery(state=state).newest_first is newest_first


class TestRetention:
    def test_finished_jobs_are_kept_a_day_and_failed_ones_for_ever(self) -> None:
        kept = {state: Retention().expiry(state, 1000.0) for state in JobState}
        day = 1000.0 + 86_400
        assert {state for state, expiry in kept.items() if expiry is None} == (
            set(JobState) - {JobState.SUCCEEDED, JobState.DELETED}
        )
        assert (kept[JobState.SUCCEEDED], kept[JobState.DELETED]) == (day, day)

    def test_each_state_has_a_time_of_its_own(self) -> None:
        retention = Retention(succeeded=None, deleted=timedelta(0), failed=timedelta(hours=1))
        assert retention.expiry(JobState.SUCCEEDED, 5.0) is None
        assert retention.expiry(JobState.DELETED, 5.0) == 5.0
        assert retention.expiry(JobState.FAILED, 5.0) == 3605.0
