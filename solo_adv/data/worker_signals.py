"""Loading processes outlive a SIGTERM that a cluster sends to all processes of a job.

The training process then has their batches for as long as it needs to save itself, and ends them.
"""

import os
import signal
import threading


def outlive_sigterm(worker: int) -> None:
    """Obey SIGTERM from the parent process only; to be called first in a new process.

    Args:
        worker: number of the process, which a DataLoader tells.
    """
    if not hasattr(signal, "sigwaitinfo"):
        return  # macOS and Windows do not tell who sent a signal
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_wait_for_parent, args=(os.getppid(),), daemon=True).start()


def _wait_for_parent(parent: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)
