"""Commands that run in sessions of their own: signals, processes left behind, and locks."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from solo_adv.support import children as module
from solo_adv.support.children import Children

PATIENCE = 60  # seconds
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)
pytestmark = pytest.mark.usefixtures("heeding_signals")


def bash(script):
    return ["bash", "-c", script]


def wait_for(path):
    end = time.monotonic() + PATIENCE
    while not path.exists():
        assert time.monotonic() < end, f"{path} did not come"
        time.sleep(0.02)


def alive(pid):
    """Whether a process runs. A zombie, which has ended, does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_status_of_a_command():
    with Children() as children:
        assert children.run(["true"]) == 0
        assert children.run(bash("exit 3")) == 3
        assert children.run(bash("kill -KILL $$")) == -signal.SIGKILL
    assert children.stopped_by is None


@pytest.mark.parametrize("name", ["INT", "TERM", "USR1"])
def test_a_signal_reaches_all_processes_of_the_command_once(tmp_path, name):
    log = tmp_path / "log"
    handlers = [signal.getsignal(number) for number in SIGNALS]
    program = f"""
import os, signal, subprocess, sys, time
def note(*_):
    with open({str(log)!r}, "a") as file:
        file.write("got\\n")
    sys.exit(5)
signal.signal(signal.SIG{name}, note)
if len(sys.argv) == 1:
    second = subprocess.Popen([sys.executable, __file__, "second"])
    while not os.path.exists({str(tmp_path / "two")!r}):
        time.sleep(0.02)
    os.kill(os.getppid(), signal.SIG{name})
else:
    open({str(tmp_path / "two")!r}, "w").close()
time.sleep(60)
"""
    file = tmp_path / "program.py"
    file.write_text(program)
    with Children() as children:
        assert children.run([sys.executable, str(file)]) == 5
    assert children.stopped_by == f"SIG{name}"
    assert log.read_text().splitlines() == ["got", "got"]
    assert [signal.getsignal(number) for number in SIGNALS] == handlers


def test_a_signal_between_commands_reaches_the_next():
    with Children() as children:
        os.kill(os.getpid(), signal.SIGTERM)
        assert children.stopped_by == "SIGTERM"
        assert children.run(["sleep", "60"]) == -signal.SIGTERM


def test_a_closed_terminal_ends_the_command():
    with Children() as children:
        os.kill(os.getpid(), signal.SIGHUP)
        assert children.run(["sleep", "60"]) == -signal.SIGTERM
    assert children.stopped_by == "SIGHUP"


def test_an_ignored_signal_stays_ignored():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with Children() as children:
        os.kill(os.getpid(), signal.SIGHUP)
        assert children.run(["true"]) == 0
    assert children.stopped_by is None


def test_what_a_command_leaves_behind_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SECONDS_TO_END", 0.2)
    with Children() as children:
        children.run(bash(f"sleep 60 & echo $! > {tmp_path}/pid; exit 1"))
    pid = int((tmp_path / "pid").read_text())
    end = time.monotonic() + PATIENCE
    while alive(pid):
        assert time.monotonic() < end
        time.sleep(0.02)


def test_one_process_at_a_time_holds_a_lock(tmp_path):
    program = f"""
from pathlib import Path
from solo_adv.support.children import Children
with Children() as children, children.alone(Path({str(tmp_path)!r}) / "lock", lambda: None):
    children.run(["bash", "-c", "touch {tmp_path}/begun; sleep 1; echo first >> {tmp_path}/log"])
"""
    other = subprocess.Popen([sys.executable, "-c", program])
    wait_for(tmp_path / "begun")
    other.kill()  # its command continues and still holds the lock
    other.wait()
    waited = []
    with Children() as children, children.alone(tmp_path / "lock", lambda: waited.append(1)):
        assert (tmp_path / "log").read_text() == "first\n"
    assert waited == [1]


def test_a_signal_ends_the_wait_for_a_lock(tmp_path):
    with Children() as first, first.alone(tmp_path / "lock", lambda: None):
        stop = lambda: os.kill(os.getpid(), signal.SIGTERM)  # noqa: E731
        with Children() as second, second.alone(tmp_path / "lock", stop):
            assert second.stopped_by == "SIGTERM"
