"""Records of labs: a left-over one is found and removed, and nobody else's process is touched."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from netlab import records as module
from netlab.records import MARK, Record, marked_processes, recorded, records, remove, start_time
from netlab.waiting import wait_until

SLEEPER = "import signal; print('here', flush=True); signal.pause()"


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory for records of this test alone."""
    monkeypatch.setattr(module, "RECORDS", tmp_path / "records")
    monkeypatch.setenv(MARK, "")
    return tmp_path


@pytest.fixture
def directory(place: Path) -> Path:
    """A lab's directory."""
    made = place / "netlab-test"
    made.mkdir()
    return made


@pytest.fixture
def sleeper(directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that a lab with this directory started."""
    with subprocess.Popen([sys.executable, "-c", SLEEPER], env={**os.environ, MARK: str(directory)}, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def test_a_record_lasts_as_long_as_the_lab(directory: Path) -> None:
    with recorded(directory, stays=True) as record:
        assert records() == [record]
        assert record.is_alive()
        assert os.environ[MARK] == str(directory)
    assert records() == []


def test_a_reused_process_id_is_another_process(directory: Path) -> None:
    started = start_time(os.getpid())
    assert started is not None
    assert Record(os.getpid(), started, str(directory), stays=True).is_alive()
    assert not Record(os.getpid(), started - 1, str(directory), stays=True).is_alive()


def test_a_process_that_ended_has_no_start_time() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        wait_until(lambda: start_time(process.pid) is None, 10, "the process to end")  # a zombie until it is waited for
    assert start_time(process.pid) is None


def test_what_a_killed_lab_left_is_removed(directory: Path, sleeper: subprocess.Popen[bytes]) -> None:
    """The lab's process is gone; a frozen child of it is not, nor are its directory and its record."""
    sleeper.send_signal(signal.SIGSTOP)
    record = Record(sleeper.pid, 1, str(directory), stays=False)
    record.save()
    assert marked_processes(str(directory)) == [sleeper.pid]
    remove(record)
    assert sleeper.wait(5) == -signal.SIGKILL
    assert not directory.exists()
    assert records() == []


def test_a_living_lab_is_asked_first(directory: Path, sleeper: subprocess.Popen[bytes]) -> None:
    started = start_time(sleeper.pid)
    assert started is not None
    remove(Record(sleeper.pid, started, str(directory), stays=True))
    assert sleeper.wait(5) == -signal.SIGTERM


def test_processes_of_another_lab_are_left_alone(directory: Path, sleeper: subprocess.Popen[bytes]) -> None:
    remove(Record(sleeper.pid, 1, f"{directory}-other", stays=False))
    assert sleeper.poll() is None


def test_a_file_that_is_no_record_is_passed_over(directory: Path) -> None:
    with recorded(directory) as record:
        (module.RECORDS / "7.json").write_text("{")
        assert records() == [record]


def test_what_a_lab_started_does_not_outlive_it(directory: Path) -> None:
    """Whatever it waits for: here, for ever, stopped."""
    with recorded(directory):
        process = subprocess.Popen([sys.executable, "-c", SLEEPER], stdout=subprocess.PIPE)
        assert process.stdout is not None
        with process.stdout as said:
            said.readline()
        process.send_signal(signal.SIGSTOP)
    assert process.wait(5) == -signal.SIGKILL
