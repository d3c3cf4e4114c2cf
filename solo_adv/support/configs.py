"""Which configs the package has, and the help that tells a user how to choose one."""

import shlex
import sys
from collections.abc import Iterable
from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omegaconf import DictConfig

CONFIGS = "solo_adv.conf"


def primary_configs() -> dict[str, str]:
    """The configs that describe a pretraining run, of which each method has one.

    Returns:
        For each name, such as ``cfamc.yaml``, the comment in the config's first line, which says
        what the method is.
    """
    found = {}
    for entry in resources.files(CONFIGS).iterdir():
        text = entry.read_text(encoding="utf-8") if entry.name.endswith(".yaml") else ""
        if "\nmethod:" in text:
            found[entry.name] = text.splitlines()[0].removeprefix("# ")
    return dict(sorted(found.items()))


def composed(name: str, overrides: Iterable[str] = ()) -> "DictConfig":
    """Compose a config of this package in Python, as the command line does.

    Args:
        name: such as ``cfamc`` for pretraining, or ``robust`` for evaluation.
        overrides: as on the command line, such as ``data=digits`` and ``max_epochs=5``.

    Returns:
        The config, which accepts new keys, for :func:`solo_adv.training.pretraining.pretrain` or
        :func:`solo_adv.evaluation.evaluating.evaluate`.
    """
    from hydra import compose, initialize_config_module  # noqa: PLC0415
    from omegaconf import OmegaConf  # noqa: PLC0415

    with initialize_config_module(CONFIGS, version_base="1.3"):
        cfg = compose(name, list(overrides))
    OmegaConf.set_struct(cfg, False)
    return cfg


def config_groups() -> dict[str, list[str]]:
    """The groups of configs that ``group=option`` chooses from, with the names of the options."""
    groups = {}
    for folder in resources.files(CONFIGS).iterdir():
        if folder.is_dir():
            names = [file.name for file in folder.iterdir() if file.name.endswith(".yaml")]
            if names:
                groups[folder.name] = sorted(name.removesuffix(".yaml") for name in names)
    return dict(sorted(groups.items()))


def help_on_choosing() -> str:
    """The help for a command line that names no config: the methods, and how to set options."""
    program = _program()
    methods, groups = primary_configs(), config_groups()
    width = max(map(len, methods))
    return "\n".join(
        (
            f"usage: {program} --config-name METHOD.yaml [KEY=VALUE ...]",
            "",
            "Methods, each with the paper's settings (--config-name):",
            *(f"  {name:<{width}}  {line}" for name, line in methods.items()),
            "",
            "Settings:",
            "  KEY=VALUE     changes a setting: max_epochs=5 adversary.epsilon=4/255",
            "  +KEY=VALUE    adds a setting: +backbone.kwargs.width=16",
            "  GROUP=OPTION  takes several settings from a config of their own:",
            *(f"    {name}: {', '.join(options)}" for name, options in groups.items()),
            "",
            "All settings of a method and their values:",
            f"  {program} --config-name cfamc.yaml --help",
        )
    )


def next_command(name: str, *arguments: str) -> str:
    """The command line of another command of the package, started as the running one was.

    Args:
        name: the command, such as ``robust``.
        arguments: its arguments, which are quoted for a shell where they need it.
    """
    place, _, file = shlex.split(_program())[-1].rpartition("/")
    if file.startswith("main_") and file.endswith(".py"):
        program = ["python", f"{place}/main_{name}.py" if place else f"main_{name}.py"]
    elif file.startswith("solo-adv-"):
        program = [f"solo-adv-{name}"]
    else:
        program = ["python", "-m", f"solo_adv.commands.{name}"]
    return shlex.join([*program, *arguments])


def _program() -> str:
    """How the running program was started, as a user would type it."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec is not None and spec.name.startswith("solo_adv."):
        return f"python -m {spec.name.removesuffix('.__main__')}"
    started_as = sys.argv[0].replace("\\", "/")
    if started_as.endswith(".py"):
        return f"python {shlex.quote(started_as)}"
    return started_as.rpartition("/")[2]
