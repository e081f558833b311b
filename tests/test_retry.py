"""When a failed job is tried again: Hangfire's rule, ABP's rule, a list, never."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, strategies as st

from flask_abpjobs.errors import ConfigError
from flask_abpjobs.retry import MAX_DELAY, RetryPolicy, decode_policy, encode_policy


def attempts_at(policy: RetryPolicy) -> list[float]:
    """Return the seconds at which the attempts of a job that always fails at once are made."""
    times = [0.0]
    while (delay := policy.next_delay(len(times), times[-1])) is not None:
        times.append(times[-1] + delay)
    return times


class TestHangfires:
    @pytest.mark.parametrize("failures", range(1, 11))
    def test_the_delay_is_hangfires_formula(self, failures: int) -> None:
        low = RetryPolicy().next_delay(failures, 0.0, draw=lambda: 0)
        high = RetryPolicy().next_delay(failures, 0.0, draw=lambda: 29)
        assert low == (failures - 1) ** 4 + 15
        assert high == (failures - 1) ** 4 + 15 + 29 * failures

    def test_chance_stays_inside_the_formula_and_uses_all_of_it(self) -> None:
        delays = {RetryPolicy().next_delay(1, 0.0) for _ in range(2_000)}
        assert delays == {float(seconds) for seconds in range(15, 45)}

    def test_it_is_tried_ten_times_more(self) -> None:
        policy = RetryPolicy()
        assert policy.next_delay(10, 1e9) is not None
        assert policy.next_delay(11, 0.0) is None
        assert len(attempts_at(policy)) == 11

    def test_the_last_retry_comes_after_hours_in_all(self) -> None:
        assert 4 * 3600 < attempts_at(RetryPolicy())[-1] < 5 * 3600

    def test_the_number_of_retries_can_be_set(self) -> None:
        assert len(attempts_at(RetryPolicy(attempts=3))) == 4


class TestAbps:
    def test_attempts_are_made_after_0_1_3_7_minutes_and_the_twelfth_is_the_last(self) -> None:
        minutes = [seconds / 60 for seconds in attempts_at(RetryPolicy.exponential())]
        assert minutes == [0, 1, 3, 7, 15, 31, 63, 127, 255, 511, 1023, 2047]

    def test_time_lost_in_the_queue_counts_against_the_timeout(self) -> None:
        policy = RetryPolicy.exponential()
        assert policy.next_delay(1, 172_740.0) == 60.0
        assert policy.next_delay(1, 172_741.0) is None

    def test_first_factor_and_timeout_can_be_set(self) -> None:
        assert attempts_at(RetryPolicy.exponential(first=1, factor=3, timeout=40)) == [0, 1, 4, 13, 40]

    def test_a_factor_of_one_tries_at_equal_distances(self) -> None:
        assert attempts_at(RetryPolicy.exponential(first=10, factor=1, timeout=30)) == [0, 10, 20, 30]

    def test_growth_beyond_all_numbers_ends_at_the_longest_delay(self) -> None:
        policy = RetryPolicy(attempts=1000, first=60.0, factor=10.0)
        assert policy.next_delay(1000, 0.0) == MAX_DELAY


class TestLists:
    def test_each_retry_has_its_delay_and_then_it_is_over(self) -> None:
        policy = RetryPolicy(delays=[2, 5, 10])
        assert [policy.next_delay(failures, 1e9) for failures in (1, 2, 3, 4)] == [2.0, 5.0, 10.0, None]
        assert policy.attempts == 3

    def test_a_delay_may_be_zero(self) -> None:
        assert RetryPolicy(delays=[0]).next_delay(1, 0.0) == 0.0

    @pytest.mark.parametrize("policy", [RetryPolicy.none(), RetryPolicy(attempts=0), RetryPolicy(delays=[])])
    def test_none_never_tries_again(self, policy: RetryPolicy) -> None:
        assert policy.next_delay(1, 0.0) is None
        assert policy.attempts == 0


class TestRefused:
    @pytest.mark.parametrize(
        ("settings", "words"),
        [
            ({"attempts": -1}, "RetryPolicy: attempts is -1; use 0 to 1000."),
            ({"attempts": 1001}, "RetryPolicy: attempts is 1001; use 0 to 1000."),
            ({"delays": [0] * 1001}, "RetryPolicy: attempts is 1001; use 0 to 1000."),
            ({"delays": [1, -1]}, "RetryPolicy: delays is [1.0, -1.0]; use seconds from 0 to 31622400."),
            ({"delays": [math.nan]}, "RetryPolicy: delays is [nan]; use seconds from 0 to 31622400."),
            ({"delays": [1e9]}, "RetryPolicy: delays is [1000000000.0]; use seconds from 0 to 31622400."),
            ({"first": 0}, "RetryPolicy.exponential: first must be positive seconds and factor at least 1."),
            ({"first": math.nan}, "RetryPolicy.exponential: first must be positive seconds and factor at least 1."),
            ({"first": math.inf}, "RetryPolicy.exponential: first must be positive seconds and factor at least 1."),
            (
                {"first": 1, "factor": 0.9},
                "RetryPolicy.exponential: first must be positive seconds and factor at least 1.",
            ),
            (
                {"first": 1, "factor": math.inf},
                "RetryPolicy.exponential: first must be positive seconds and factor at least 1.",
            ),
            ({"first": 1, "timeout": -1}, "RetryPolicy.exponential: timeout is -1; use seconds, at least 0."),
            ({"first": 1, "timeout": math.nan}, "RetryPolicy.exponential: timeout is nan; use seconds, at least 0."),
        ],
        ids=str,
    )
    def test_a_policy_that_cannot_be_meant_is_refused(self, settings: dict[str, Any], words: str) -> None:
        with pytest.raises(ConfigError) as refused:
            RetryPolicy(**settings)
        assert str(refused.value) == words

    def test_a_policy_cannot_be_changed(self) -> None:
        with pytest.raises(AttributeError):
            RetryPolicy().attempts = 5  # type: ignore[misc]


POLICIES = (
    st.builds(RetryPolicy, attempts=st.integers(0, 1000))
    | st.builds(RetryPolicy, delays=st.lists(st.floats(0, MAX_DELAY), max_size=20))
    | st.builds(
        RetryPolicy,
        attempts=st.integers(0, 1000),
        first=st.floats(0, MAX_DELAY, exclude_min=True),
        factor=st.floats(1, 1e300),
        timeout=st.none() | st.floats(0, 1e12),
    )
)


@given(POLICIES, st.integers(1, 1100), st.floats(0, 1e12))
def test_a_delay_is_never_negative_and_never_over_the_cap(policy: RetryPolicy, failures: int, age: float) -> None:
    delay = policy.next_delay(failures, age)
    assert delay is None or 0 <= delay <= MAX_DELAY
    if failures > policy.attempts:
        assert delay is None


@given(POLICIES, st.floats(0, 1e12))
def test_every_policy_comes_to_an_end(policy: RetryPolicy, age: float) -> None:
    assert policy.next_delay(1001, age) is None


@given(POLICIES)
def test_a_policy_travels_as_json(policy: RetryPolicy) -> None:
    assert decode_policy(encode_policy(policy)) == policy


@pytest.mark.parametrize(
    "data", [b"", b"\xff", b"{", b"null", b'{"attempts":-1}', b'{"attempts":"x"}', b'{"delays":[-1]}', b"[" * 100_000]
)
def test_a_damaged_policy_is_none_so_that_the_jobs_own_applies(data: bytes) -> None:
    assert decode_policy(data) is None


def test_a_policy_of_newer_code_is_read_as_far_as_it_is_known() -> None:
    assert decode_policy(b'{"attempts":3,"of tomorrow":true}') == RetryPolicy(attempts=3)


class Odd(Exception):
    pass


class Odder(Odd):
    pass


class TestWhichErrors:
    def test_all_are_covered_unless_some_are_named(self) -> None:
        assert RetryPolicy().covers(ValueError())

    def test_on_names_what_is_tried_again_with_its_subclasses(self) -> None:
        policy = RetryPolicy(on=[OSError, Odd])
        assert [policy.covers(error) for error in (ConnectionError(), Odder(), ValueError())] == [True, True, False]

    def test_except_on_wins(self) -> None:
        policy = RetryPolicy(on=Odd, except_on=Odder)
        assert [policy.covers(error) for error in (Odd(), Odder())] == [True, False]

    def test_classes_may_be_named_by_text(self) -> None:
        assert RetryPolicy(on=f"{__name__}.Odd").covers(Odder())

    def test_a_policy_travels_with_its_names(self) -> None:
        policy = RetryPolicy.exponential(on=Odd, except_on=(OSError,), on_exceeded="delete", attempts=3)
        assert decode_policy(encode_policy(policy)) == policy

    @pytest.mark.parametrize("settings", [{"on": [int]}, {"on": 5}, {"except_on": [None]}, {"on_exceeded": "retry"}])
    def test_what_does_not_fit_is_refused(self, settings: dict[str, Any]) -> None:
        with pytest.raises(ConfigError, match="RetryPolicy: on|RetryPolicy: except_on"):
            RetryPolicy(**settings)
