"""Runs a Hydra application. It reports a user's mistake in one line and exits with status 2."""

import codecs
import io
import logging
import os
import signal
import sys
import warnings
from collections.abc import Callable, Collection, Mapping

import hydra
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from solo_adv.support.arguments import accepted_arguments
from solo_adv.support.configs import CONFIGS, help_on_choosing, primary_configs
from solo_adv.support.errors import TRY_AGAIN, RunStopped, UserError, unknown
from solo_adv.support.progress import say
from solo_adv.support.spelling import dotted_keys, meant_keys
from solo_adv.support.sweeps import Figures, Sweep, is_sweep

_ABOUT_HYDRA = {"--hydra-help", "--version", "--shell-completion", "-sc"}
"""Flags that Hydra answers without a config."""


_TALKATIVE = (
    ".utilities.rank_zero",
    ".utilities.seed",
    ".trainer.connectors.checkpoint_connector",
)
"""Modules of Lightning whose messages interrupt this package's own."""


def run_app(
    task: Callable[[DictConfig], Figures | None],
    config_name: str | None = None,
    *,
    short: Mapping[str, str] | None = None,
    optional: Collection[str] = (),
) -> None:
    """Compose the config that the command line asks for and run ``task`` on it.

    Args:
        task: takes the composed config, to which it may add keys, and returns figures for the
            table of a sweep, in which jobs that fail do not end the others.
        config_name: primary config if the command line has no ``--config-name``. With None, a
            command line without ``--config-name`` is refused, and its ``--help`` lists the methods.
        short: keys that may be given in short, and the whole keys for which they stand.
        optional: keys that the config need not have, which may be given without ``+``.
    """
    with user_errors():
        sys.argv[1:] = accepted_arguments(sys.argv[1:], short=short or {}, optional=optional)
    chosen = config_name is not None or "--config-name" in _flags()
    if not chosen and "--help" in _flags():
        print(help_on_choosing())
        return
    # Without this Hydra prints its own multi-line report and exits with 1.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    quiet_libraries()

    sweep = Sweep()

    @hydra.main(config_path=f"pkg://{CONFIGS}", config_name=config_name, version_base="1.3")
    def app(cfg: DictConfig) -> float | None:
        OmegaConf.set_struct(cfg, False)
        quiet_libraries()  # a launcher may have started another process for the job
        if is_sweep():
            try:
                return sweep.run(task, cfg, _message)
            except RunStopped as stopped:  # Hydra would go on with the next job
                print(stopped, file=sys.stderr)
                sys.exit(TRY_AGAIN)
        with user_errors():  # needed here as well, because Hydra would add a line to the message
            task(cfg)
        return None

    with user_errors():
        if not chosen and not _flags() & _ABOUT_HYDRA:  # Hydra would make a directory first
            names = ", ".join(primary_configs())
            raise UserError(f"Choose a method with --config-name. Accepted: {names}.")
        try:
            app()
        except Exception as error:
            sweep.collect()
            if not sweep.failures:
                raise
            say(f"The sweep ended early: {type(error).__name__}: {error}")
    sweep.collect()
    if sweep.jobs:
        sweep.show()
        sys.exit(2 if sweep.failures else 0)


def _printable(error: UnicodeError) -> tuple[str | bytes, int]:
    """What is printed for characters that the locale cannot encode: ``?``.

    Bytes of a path that the locale cannot decode are lone surrogates in Python; they are printed
    as the bytes that they are.
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return os.fsencode("".join(map(_or_mark, error.object[error.start : error.end]))), error.end


def _or_mark(character: str) -> str:
    return character if "\udc80" <= character <= "\udcff" else "?"


_PRINTED = "solo_adv.printable"
codecs.register_error(_PRINTED, _printable)


class user_errors:
    """Context that reports a UserError or an error of Hydra in one line and exits with status 2.

    If a run was stopped from outside, it prints one line and exits with status 75.
    """

    def __enter__(self) -> None:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # printing must not fail in any locale
                stream.reconfigure(errors=_PRINTED)

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            return
        if isinstance(error, RunStopped):
            print(error, file=sys.stderr)
            sys.exit(TRY_AGAIN)
        if isinstance(error, KeyboardInterrupt):
            print("Stopped by SIGINT; nothing was being trained.", file=sys.stderr)
            sys.exit(128 + signal.SIGINT)
        message = _message(error)
        if message is not None:
            print(f"error: {message}", file=sys.stderr)
            sys.exit(2)


def _message(error: BaseException) -> str | None:
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, name = error.missing_cfg_file.removesuffix(".yaml").rpartition("/")
        accepted = error.options or [file.removesuffix(".yaml") for file in primary_configs()]
        return str(unknown(group or "--config-name", name, accepted))
    if isinstance(error.__cause__, ConfigKeyError | ConfigAttributeError):
        refused = _unknown_key(error.__cause__)
        if refused is not None:
            return refused
    if isinstance(error, HydraException | OmegaConfBaseException):
        where = f"{error.override}: " if isinstance(error, OverrideParseException) else ""
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return f"{where}{' '.join(lines)} (--cfg job prints the whole config)"
    return None


def _unknown_key(error: ConfigKeyError | ConfigAttributeError) -> str | None:
    """The message for ``key=value`` where the config has no such key; None for other errors."""
    parent, *sections = error.parent_node, *str(error.full_key or error.key).split(".")[:-1]
    if not isinstance(parent, DictConfig) or not parent:
        return None
    known = [str(key) for key in parent if key != "hydra"]
    where = ".".join(sections) or "the config"
    whole = OmegaConf.to_container(parent._get_root(), resolve=False)
    assert isinstance(whole, dict)
    keys = [key for key in dotted_keys(whole) if not key.startswith("hydra")]
    meant = meant_keys(".".join([*sections, str(error.key)]), keys)
    refused = unknown(f"key in {where}", error.key, known, meant=meant)
    return f"{refused} (+KEY=VALUE gives a key that is not in this list.)"


def _flags() -> set[str]:
    names = {"-cn": "--config-name", "-h": "--help"}
    flags = (argument.partition("=")[0] for argument in sys.argv[1:])
    return {names.get(flag, flag) for flag in flags}


def quiet_libraries() -> None:
    """Silence messages of libraries that would interrupt this package's progress and errors."""
    # When Lightning is imported, it sets the levels of its packages anew, but not of these modules.
    for package in ("lightning.pytorch", "lightning.fabric"):
        for name in ("", *_TALKATIVE):
            logging.getLogger(package + name).setLevel(logging.WARNING)
    for text in (
        ".*does not have many workers.*",
        ".*`isinstance\\(treespec, LeafSpec\\)` is deprecated.*",
        ".*The number of training batches .* is smaller than the logging interval.*",
        ".*exists and is not empty.*",
        ".*You are running in `SLURM`.*",
        ".*module\\(s\\) in eval mode at the start of training.*",  # the averaged weights
        ".*sync_dist=True.*",  # logged losses are those of the global batch already
    ):
        warnings.filterwarnings("ignore", message=text)
