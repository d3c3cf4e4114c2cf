"""Commands run one after another as child processes, to which signals are passed on."""

import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

try:
    import fcntl
except ImportError:  # Windows has no such locks
    fcntl = None  # type: ignore[assignment]

SECONDS_TO_END = 10.0
"""How long the other processes of a command may take to end after the first of them has."""
_SECONDS_BETWEEN_LOOKS = 0.5


class Children:
    """Context in which commands are run; SIGINT, SIGTERM and SIGUSR1 go to the running one.

    Each command is in a session of its own, so that a signal reaches all its processes once and
    none of them outlives it. A closed terminal sends SIGHUP to this process only; it reaches the
    command as SIGTERM, upon which a run saves. Signals that this process ignores (``nohup``) stay
    ignored. Signals are taken over in the main thread only.

    Attributes:
        stopped_by: name of the first signal that came; afterwards no command should be started.
    """

    def __init__(self) -> None:
        self.stopped_by: str | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._pending: deque[int] = deque()
        self._before: dict[signal.Signals, Any] = {}
        self._locks: list[int] = []

    def __enter__(self) -> "Children":
        if threading.current_thread() is threading.main_thread():
            for name in ("SIGINT", "SIGTERM", "SIGUSR1", "SIGHUP"):
                number = getattr(signal, name, None)
                if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def run(self, command: Sequence[str]) -> int:
        """Run a command to its end, and end what it leaves behind.

        Returns:
            Its exit status; minus the number of the signal that killed it.
        """
        self._child = subprocess.Popen(command, start_new_session=True, pass_fds=self._locks)
        try:
            self._pass_on()  # what came while it was being started
            return self._child.wait()
        finally:
            group, self._child = self._child.pid, None
            _end(group)

    @contextmanager
    def alone(self, lock: Path, wait: Callable[[], object]) -> Iterator[None]:
        """Run the block while no other process runs the block of the same lock file.

        Commands that are run in the block hold the lock as well, so it outlasts this process if
        this process is killed and they are not.

        Args:
            lock: made if it is not there.
            wait: called once if another process holds the lock; the block then runs when it no
                longer does, or at once when a signal comes.

        Raises:
            OSError: the lock file cannot be made.
        """
        lock.parent.mkdir(parents=True, exist_ok=True)
        with lock.open("w", encoding="utf-8") as file:
            told = False
            while self.stopped_by is None and not _locked(file.fileno()):
                if not told:
                    wait()
                    told = True
                time.sleep(_SECONDS_BETWEEN_LOOKS)
            self._locks = [file.fileno()]
            try:
                yield
            finally:
                self._locks = []

    def _note(self, number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        self.stopped_by = self.stopped_by or name
        self._pending.append(signal.SIGTERM if name == "SIGHUP" else number)
        self._pass_on()

    def _pass_on(self) -> None:
        if self._child is None or not hasattr(os, "killpg"):
            return
        with suppress(IndexError):  # nothing is pending
            while True:
                number = self._pending.popleft()
                with suppress(ProcessLookupError):  # it has just ended
                    os.killpg(self._child.pid, number)


def _locked(file: int) -> bool:
    """Take the lock; False if another process has it."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # the file system has no locks
        return True
    return True


def _end(group: int) -> None:
    """Wait for the processes of a group whose first one has ended, and kill them in the end."""
    deadline = time.monotonic() + SECONDS_TO_END
    with suppress(ProcessLookupError, PermissionError, AttributeError):  # all have ended
        while time.monotonic() < deadline:
            os.killpg(group, 0)
            time.sleep(_SECONDS_BETWEEN_LOOKS / 10)
        os.killpg(group, signal.SIGKILL)
