"""How a job's story is told: words, tracebacks, attempts, the timeline."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import flask_abpjobs.dashboard
from flask_abpjobs.dashboard import words
from flask_abpjobs.dashboard.attempts import attempts_of
from flask_abpjobs.dashboard.timeline import timeline_of
from flask_abpjobs.dashboard.tracebacks import read_traceback
from flask_abpjobs.model import JobState, LogLine, StateEntry
from tests.browser.desk import TRACEBACK

START = datetime(2026, 11, 24, 9, 40, tzinfo=UTC)
DURATIONS = {
    0: "0.0 ms",
    0.0006: "0.6 ms",
    0.08: "80 ms",
    0.4: "0.4 s",
    41.3: "41.3 s",
    59.94: "59.9 s",
    59.96: "1 min",
    60: "1 min",
    72: "1 min 12 s",
    300: "5 min",
    3599.6: "1 h",
    3661: "1 h 1 min",
    86_400: "1 d",
    97_300: "1 d 3 h",
    -5: "0.0 ms",
}
AGES = {
    0: "now",
    0.9: "now",
    1: "in 1 s",
    -48: "48 s ago",
    -840: "14 min ago",
    -86_400: "1 d ago",
    240: "in 4 min",
    7201: "in 2 h",
}


@pytest.mark.parametrize(("seconds", "text"), DURATIONS.items())
def test_durations_have_at_most_two_units(seconds: float, text: str) -> None:
    assert words.duration(seconds) == text


@pytest.mark.parametrize(("ahead", "text"), AGES.items())
def test_ages_have_one_unit(ahead: float, text: str) -> None:
    assert words.age(START + timedelta(seconds=ahead), START.timestamp()) == text


@pytest.mark.requires_node
def test_the_script_says_times_in_the_same_words(node_path: str) -> None:
    source = (Path(flask_abpjobs.dashboard.__file__).parent / "static" / "abpjobs.js").read_text()
    functions = source[source.index("const units") : source.index("function say")].replace(
        "const now = ", "const then = "
    )
    seconds = [each for each in DURATIONS if each >= 1] + [0.08, 0.4]
    program = f"{functions}\nconsole.log(JSON.stringify([{seconds!r}.map(duration), {list(AGES)!r}.map(age)]))"
    done = subprocess.run([node_path, "-e", program], capture_output=True, text=True, check=True, timeout=30)
    assert json.loads(done.stdout) == [[DURATIONS[each] for each in seconds], list(AGES.values())]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (1204, "1,204"), (7.5, "7.5"), (12480.0, "12,480"), (2**63, "9,223,372,036,854,775,808")],
)
def test_numbers_are_grouped(value: float, text: str) -> None:
    assert words.number(value) == text


def test_priorities_have_names() -> None:
    assert [words.priority(value) for value in (5, 10, 15, 20, 25, 7)] == [
        "low",
        "below normal",
        "normal",
        "above normal",
        "high",
        "7",
    ]


def test_a_traceback_shows_own_frames_first() -> None:
    found = read_traceback(TRACEBACK)
    assert found is not None
    assert (found.frames, found.hidden, found.whole) == (3, 1, TRACEBACK)
    assert [part.text.splitlines()[0] for part in found.short] == [
        "Traceback (most recent call last):",
        "  … 1 frame of libraries hidden",
        '  File "/srv/orderdesk/jobs/orders.py", line 88, in import_csv',
        '  File "/srv/orderdesk/payments.py", line 41, in charge_batch',
        "orderdesk.payments.PaymentGatewayTimeout: No answer from gateway.acme.example",
    ]
    assert [part.is_own for part in found.short] == [False, False, True, True, True]


def test_a_real_traceback_of_this_python_hides_the_standard_library(tmp_path: Path) -> None:
    own = tmp_path / "own.py"
    own.write_text(
        "import json\ntry:\n    json.loads('{')\nexcept ValueError as e:\n    raise LookupError('no\\nsense') from e\n"
    )
    done = subprocess.run([sys.executable, str(own)], capture_output=True, text=True, timeout=30)
    found = read_traceback(done.stderr)
    assert found is not None
    short = "\n".join(part.text for part in found.short)
    assert "json/decoder.py" in found.whole
    assert "json/" not in short
    assert "LookupError: no\nsense" in short
    assert found.frames > 3
    assert found.hidden == found.frames - 1


@pytest.mark.parametrize(
    "file",
    ["C:\\Python\\Lib\\site-packages\\x.py", "/usr/lib/python3.11/json/__init__.py", "<frozen importlib._bootstrap>"],
)
def test_library_frames_are_known_by_their_place(file: str) -> None:
    found = read_traceback(f'Traceback (most recent call last):\n  File "{file}", line 1, in f\n    x\nValueError: no')
    assert found is not None
    assert found.hidden == 1


@pytest.mark.parametrize(
    "text", ["", "\n", "  File", "Traceback (most recent call last):", "just words", '  File "x', "é" * 90_000]
)
def test_any_text_is_taken_for_a_traceback_without_an_error(text: str) -> None:
    found = read_traceback(text)
    assert (found is None) is (not text.strip("\n"))


def story(*steps: tuple[JobState, float, dict[str, Any]]) -> list[StateEntry]:
    return [
        StateEntry(state=state, at=START + timedelta(seconds=at), data=data, reason=data.pop("reason", None))
        for state, at, data in steps
    ]


S = JobState
RETRIED = story(
    (S.ENQUEUED, 0, {"queue": "alpha", "by": "Ayla Demir"}),
    (S.PROCESSING, 1, {"attempt": 1, "server": "desk-2", "worker": "11"}),
    (S.SCHEDULED, 42, {"attempt": 1, "error_type": "pay.Timeout", "duration": 41.0, "due_at": START.timestamp() + 65}),
    (S.ENQUEUED, 65, {"queue": "alpha", "reason": "Due"}),
    (S.PROCESSING, 66, {"attempt": 2, "server": "desk-1", "worker": "4"}),
)


def line(at: float, attempt: int, text: str) -> LogLine:
    return LogLine(at=START + timedelta(seconds=at), attempt=attempt, level="info", text=text)


def test_attempts_are_told_newest_first_with_their_log() -> None:
    attempts, older = attempts_of(RETRIED, [line(2, 1, "a"), line(41, 1, "b"), line(70, 2, "c")])
    assert older == 0
    assert [(a.title, a.word, a.is_running, a.place, a.duration) for a in attempts] == [
        ("Attempt 2", "Processing", True, "desk-1, worker 4", None),
        ("Attempt 1", "Failed", False, "desk-2, worker 11", 41.0),
    ]
    assert [[each.text for each in a.lines] for a in attempts] == [["c"], ["a", "b"]]


def test_attempts_that_were_given_back_or_lost_keep_their_own_lines() -> None:
    history = story(
        (S.ENQUEUED, 0, {}),
        (S.PROCESSING, 1, {"attempt": 1}),
        (S.ENQUEUED, 5, {"reason": "The server stopped"}),
        (S.PROCESSING, 10, {"attempt": 1}),
        (S.ENQUEUED, 15, {"recovered": True, "reason": "Server desk-1 stopped answering"}),
        (S.PROCESSING, 20, {"attempt": 2}),
        (S.SUCCEEDED, 30, {"attempt": 2}),
    )
    attempts, _ = attempts_of(history, [line(2, 1, "first"), line(12, 1, "second"), line(25, 2, "third")])
    assert [(a.word, a.note, [each.text for each in a.lines]) for a in attempts] == [
        ("Succeeded", None, ["third"]),
        ("Lost", "Server desk-1 stopped answering", ["second"]),
        ("Given back", "The server stopped", ["first"]),
    ]


def test_a_job_that_failed_before_a_worker_had_it_still_says_why() -> None:
    attempts, _ = attempts_of(story((S.ENQUEUED, 0, {}), (S.FAILED, 1, {"error_type": "UnknownJobError"})), [])
    assert [(a.title, a.word, a.error_type) for a in attempts] == [("Before an attempt", "Failed", "UnknownJobError")]


def test_a_history_without_its_beginning_is_told_from_where_it_starts() -> None:
    attempts, _ = attempts_of(RETRIED[2:], [line(2, 1, "gone"), line(70, 2, "c")])
    assert [(a.title, [each.text for each in a.lines]) for a in attempts] == [("Attempt 2", ["c"])]
    many = story(*((state, n, {}) for n in range(60) for state in (S.PROCESSING, S.ENQUEUED)))
    attempts, older = attempts_of(many, [])
    assert (len(attempts), older, attempts[0].title) == (20, 40, "Attempt 60")


def test_the_timeline_says_how_long_each_leg_took() -> None:
    timeline = timeline_of(RETRIED, START.timestamp() + 138)
    assert [(step.state.value, step.note, step.leg) for step in timeline.steps] == [
        ("enqueued", "In alpha by Ayla Demir", "1.0 s waiting"),
        ("processing", "Attempt 1 on desk-2", "41.0 s running"),
        ("scheduled", "Timeout, due 09:41:05", "23.0 s waiting"),
        ("enqueued", "Due, in alpha", "1.0 s waiting"),
        ("processing", "Attempt 2 on desk-1", "1 min 12 s and running"),
    ]
    assert (timeline.summary, timeline.total) == ("Ran 1 min 53 s, waited 25.0 s", "2 min 18 s so far")
    assert [bar.tone for bar in timeline.bars] == ["enqueued", "failed", "scheduled", "enqueued", "processing"]
    assert all(0 <= bar.start and bar.start + bar.width <= timeline.width for bar in timeline.bars)


def test_the_time_after_an_end_is_no_part_of_the_work() -> None:
    history = story(
        (S.ENQUEUED, 0, {}),
        (S.PROCESSING, 10, {"attempt": 1}),
        (S.FAILED, 20, {"error_type": "x.Broken"}),
        (S.ENQUEUED, 900_000, {"queue": "mail", "by": "Ayla", "reason": "Requeued"}),
        (S.PROCESSING, 900_010, {"attempt": 2}),
        (S.SUCCEEDED, 900_020, {}),
    )
    timeline = timeline_of(history, START.timestamp() + 1e6)
    assert timeline.summary == "Ran 20.0 s, waited 20.0 s"
    assert timeline.total == "40.0 s"
    assert timeline.steps[2].leg == "10 d 9 h later"
    assert timeline.steps[3].note == "Requeued, in mail by Ayla"
    assert timeline.steps[-1].leg == ""
    assert [bar.tone for bar in timeline.bars] == ["enqueued", "failed", "enqueued", "succeeded"]


def test_an_empty_history_has_an_empty_timeline() -> None:
    assert timeline_of([], 0.0).steps == ()
