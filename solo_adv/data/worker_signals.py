"""Keeps loading processes alive when a cluster sends SIGTERM to all processes of a job.

The training process needs their batches until it has saved itself. It ends them afterwards.
"""

import os
import signal
import threading


def outlive_sigterm(worker: int) -> None:
    """Make this process obey SIGTERM only if its parent sends it, and never SIGINT.

    It must be called before anything else in a new process.

    Args:
        worker: number of the worker; a DataLoader passes it, and it is not used.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal
    if not hasattr(signal, "sigwaitinfo"):
        return  # on macOS and Windows a process cannot learn who sent a signal
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_wait_for_parent, args=(os.getppid(),), daemon=True).start()


def _wait_for_parent(parent: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)
