"""The one training step of all methods: an objective and an adversary, on any host.

Shapes: B images become V crops each, N = V*B, view-major; embeddings are (V, B, D).
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import torch.distributed as dist
import torch.nn.functional as F
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from solo_adv.adversaries import Adversary, batch_norm_during_attack, parameters_frozen
from solo_adv.crops import (
    CropOptions,
    CropPipeline,
    CropSpec,
    as_unit_float,
    join_views,
    read_crops,
)
from solo_adv.crops import build as build_crops
from solo_adv.encoders.projector import Projector
from solo_adv.methods.attacked_views import AttackedViews, join
from solo_adv.methods.chunks import pass_in_chunks
from solo_adv.methods.performance import Performance, resolved_precision
from solo_adv.methods.run_state import (
    add_running_means,
    random_state,
    restore_random_state,
    running_means,
)
from solo_adv.methods.watch import CollapseWatch
from solo_adv.objectives import Objective
from solo_adv.support.checks import choice, whole
from solo_adv.support.compiling import compile_whole
from solo_adv.support.errors import UserError
from solo_adv.support.settings import accepted_settings, construct, section

PRESETS: dict[str, dict[str, Any]] = {
    "reference": {
        "adversary.accumulate_gradients": True,
        "adversary.batch_norm": "train",
        "adversary.clamp_before_forward": False,
        "scheduler.name": "reference_cyclic",
    }
}
"""Named sets of options, as far as a method has them: the paper's code where it changes results."""

_PROJECTOR_KEYS = ("proj_hidden_dim", "proj_output_dim")


class NonFiniteLossError(UserError):
    """The loss became NaN or infinite: the weights are lost, earlier checkpoints are not.

    Attributes:
        batch: the batch after which it was noticed, by name.
    """

    batch: Mapping[str, Tensor] = MappingProxyType({})


if TYPE_CHECKING:
    from solo_adv.methods.contract import HostMethod as _Host
else:
    _Host = object


class AdversarialMethod(_Host):
    """A method without its base: each host joins it to its own ``BaseMethod`` (see ``host/``).

    The base brings ``backbone``, ``classifier``, ``features_dim``, ``forward`` with ``logits`` and
    ``feats``, optimisers and validation; and two doors, ``to_pixels`` from the images its loader
    delivers to pixels in [0, 1], and ``from_pixels`` back to what its ``forward`` takes
    (``host/contract.py`` has the whole list).

    Extra cfg settings:
        method_kwargs:
            proj_hidden_dim (int): width of the projector's hidden layers.
            proj_output_dim (int): dimension of the embeddings.
            (and the settings of the objective)
        adversary: the settings of the adversary, and of ``AttackedViews``.
        preset: ``reference`` for the choices of the paper's code that change results.
        crops: backend, source and the fields of ``CropSpec``; of ``chunk`` crops at most the
            activations are in memory at a time.
        performance: the fields of ``Performance``.
        precision: Lightning's, or ``auto``: bfloat16 where the hardware multiplies it fast.
    """

    objective_class: ClassVar[type[Objective]]
    adversary_class: ClassVar[type[Adversary]]
    default_crops: ClassVar[str] = "multi_crop"
    default_attacked_views: ClassVar[AttackedViews] = AttackedViews()

    # Free training takes several optimiser steps on a batch.
    automatic_optimization = False

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__(cfg)
        cfg = self.cfg
        method_kwargs = section(cfg, "method_kwargs")
        self.proj_hidden_dim: int = method_kwargs.pop("proj_hidden_dim")
        self.proj_output_dim: int = method_kwargs.pop("proj_output_dim")
        self.objective = construct(self.objective_class, method_kwargs, "method_kwargs")
        self.attacked_views, self.adversary = self._build_adversary(cfg)
        if self.objective.on_logits:
            self.proj_output_dim = cfg.method_kwargs.proj_output_dim = cfg.data.num_classes
        self.projector = Projector(
            self.features_dim,
            self.proj_hidden_dim,
            self.proj_output_dim,
            unit=not self.objective.on_logits,
        )
        self.crops = self._build_crops(seed=cfg.get("seed", 0))
        self.chunk = self.crop_settings(cfg)[1].chunk
        self._network: Callable[[Tensor], dict[str, Tensor]] = self._pass
        self._objective: Callable[[Tensor, Tensor], Any] = self.objective
        self.crop_passes = 0
        self.collapse_watch = CollapseWatch()
        self._finite: Tensor | None = None
        self._resumed: dict[str, Any] = {}

    # ---------------------------------------------------------------- configuration

    @classmethod
    def add_and_assert_specific_cfg(cls, cfg: DictConfig) -> DictConfig:
        """Fill in the method's defaults and check every setting of it, before anything is built.

        Raises:
            UserError: an unknown key or a value out of range, with what is accepted.
        """
        cfg = super().add_and_assert_specific_cfg(_with_preset(cls.adversary_class, cfg))
        objective = cls.objective_class
        cfg.method_kwargs = {
            "proj_hidden_dim": 4096,
            "proj_output_dim": objective.output_dim,
            **accepted_settings(objective),
            **section(cfg, "method_kwargs"),
        }
        beside = AttackedViews.keys(cls.adversary_class)
        cfg.adversary = {
            **accepted_settings(cls.adversary_class),
            **{key: getattr(cls.default_attacked_views, key) for key in beside},
            **section(cfg, "adversary"),
        }
        cfg.crops = {
            **CropOptions.defaults(),
            **plain_spec(CropSpec.preset(cls.default_crops)),
            "size": None,
            **section(cfg, "crops"),
        }
        given = section(cfg, "performance")
        construct(Performance, given, "performance")
        cfg.performance = {**accepted_settings(Performance), **given}
        cfg.precision = resolved_precision(cfg)
        cls.check_cfg(cfg)
        return cfg

    @classmethod
    def check_cfg(cls, cfg: DictConfig) -> None:
        """Build the cheap parts of a complete config once, for their errors."""
        kwargs = section(cfg, "method_kwargs")
        for key in _PROJECTOR_KEYS:
            whole(f"method_kwargs.{key}", kwargs.pop(key), 1)
        objective = construct(cls.objective_class, kwargs, "method_kwargs", besides=_PROJECTOR_KEYS)
        cls._build_adversary(cfg)
        spec, options = cls.crop_settings(cfg)
        build_crops(spec, options.backend)
        if spec.num_crops < objective.min_views:
            raise UserError(
                f"method={cfg.method} compares crops of an image and needs crops.num_crops of at "
                f"least {objective.min_views}; got {spec.num_crops}."
            )
        if spec.num_crops < 2 and cfg.adversary.get("views") == "second":
            raise UserError("adversary.views=second needs crops.num_crops of at least 2; got 1.")

    @classmethod
    def _build_adversary(cls, cfg: DictConfig) -> tuple[AttackedViews, Adversary]:
        given = section(cfg, "adversary")
        beside = AttackedViews.keys(cls.adversary_class)
        views = AttackedViews(**{key: given.pop(key) for key in beside if key in given})
        return views, construct(cls.adversary_class, given, "adversary", besides=beside)

    @classmethod
    def crop_settings(cls, cfg: DictConfig) -> tuple[CropSpec, CropOptions]:
        """What crops a complete config draws, and how."""
        settings = section(cfg, "crops")
        settings["size"] = settings["size"] or cls.crop_size(cfg)
        return read_crops(settings)

    def _build_crops(self, seed: int) -> CropPipeline:
        spec, options = self.crop_settings(self.cfg)
        # With ready crops from the loader it is idle, and asks for no backend's library.
        backend = options.backend if options.source == "device" else "torch"
        return build_crops(
            spec,
            backend,
            seed=seed,
            chunk=options.chunk,
            compile=options.compile,
            memory_format=(
                torch.contiguous_format if self.no_channel_last else torch.channels_last
            ),
        )

    # ---------------------------------------------------------------- the host's contract

    @property
    def learnable_params(self) -> list[dict[str, Any]]:
        """The base's parameter groups and the projector's."""
        return [
            *super().learnable_params,
            {"name": "projector", "params": self.projector.parameters()},
        ]

    def forward(self, X: Tensor) -> dict[str, Tensor]:
        """From images as the host delivers them to ``logits``, ``feats``, ``hidden`` and ``z``."""
        return self._project(super().forward(X))

    def multicrop_forward(self, X: Tensor) -> dict[str, Tensor]:
        """:meth:`forward` without logits."""
        return self._project(super().multicrop_forward(X))

    def _project(self, out: dict[str, Tensor]) -> dict[str, Tensor]:
        hidden, z = self.projector(out["feats"])
        return {**out, "hidden": hidden, "z": z}

    # ---------------------------------------------------------------- training

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """Crop, then for each replay: perturb, update the weights, let the adversary learn.

        Args:
            batch: ``[indexes, views, targets]`` with ``views`` a list of V image batches as the
                host's loader delivers them: the crops, or (``crops.source=device``) the first is
                cropped. Targets (B,), -1 where unlabelled.
            batch_idx: index of the batch.
        """
        _, views, targets = batch
        crops = self._crops_of([views] if isinstance(views, Tensor) else views)
        if not self.no_channel_last:
            crops = crops.contiguous(memory_format=torch.channels_last)
        clean, attacked = self.attacked_views.split(crops, len(targets))
        optimizer: Any = self.optimizers()

        for _ in range(self.adversary.replays):
            optimizer.zero_grad()
            delta = self.perturb(clean, attacked, targets)
            out = self.outputs_of(crops if delta is None else join(clean, attacked + delta))
            loss = self.loss_of(out["z"], targets)
            probe = _probe(out["logits"], targets.repeat(len(crops) // len(targets)))
            self.manual_backward(loss.total + probe["train_class_loss"])
            optimizer.step()
            self.adversary.update(attacked, delta)
            self._watch(loss.total)
            self._step_schedulers(end_of="replay")

        self._step_schedulers(end_of="step")
        self.crop_passes += self._passes_of_batch(len(crops), len(attacked)) * _world_size()
        self._log_step(loss._asdict(), probe)
        self._watch_collapse(out["z"][: len(targets)], batch_idx)
        add_running_means(self.trainer, self._resumed.pop("means", {}))
        views_seen = min(2, len(crops) // len(targets)) * len(targets)
        self.observe(out["feats"][:views_seen].detach(), targets.repeat(views_seen // len(targets)))

    def _crops_of(self, views: Sequence[Tensor]) -> Tensor:
        """Crops (V*B, 3, h, w) in [0, 1], view-major."""
        if self.cfg.crops.source == "device":
            return self.crops(self.to_pixels(views[0]))
        shapes = {tuple(view.shape[2:]) for view in views}
        if len(shapes) > 1 or len(views) < self.objective.min_views:
            raise UserError(
                f"crops.source=loader needs at least {self.objective.min_views} views of one size "
                f"from the loader; got {len(views)} of the sizes {sorted(shapes)}. "
                "crops.source=device draws the crops here."
            )
        return as_unit_float(self.to_pixels(join_views(views)))

    def perturb(self, clean: Tensor, attacked: Tensor, targets: Tensor) -> Tensor | None:
        """The adversary's perturbation of the attacked crops, or None.

        Args:
            clean: crops that stay clean, as ``AttackedViews.split`` has it.
            attacked: crops to be attacked.
            targets: of the images (B,).
        """
        freeze = nullcontext() if self.adversary.accumulate_gradients else parameters_frozen(self)
        with batch_norm_during_attack(self, self.adversary.batch_norm), freeze:
            crafting_loss = self.attacked_views.crafting_loss(
                clean,
                attacked,
                lambda pixels: self.outputs_of(pixels)["z"],
                lambda z: self.loss_of(z, targets).total,
            )
            return self.adversary.perturb(attacked, crafting_loss)

    def outputs_of(self, pixels: Tensor) -> dict[str, Tensor]:
        """``logits``, ``feats`` and ``z`` of pixels (N, 3, h, w) in [0, 1], by ``chunk`` crops."""
        if self.chunk is None or len(pixels) <= self.chunk:
            return self._network(pixels)
        return pass_in_chunks(self._network, pixels, self.chunk, model=self)

    def _pass(self, pixels: Tensor) -> dict[str, Tensor]:
        out = self(self.from_pixels(pixels))
        return {name: out[name] for name in ("logits", "feats", "z")}

    def loss_of(self, z: Tensor, targets: Tensor) -> Any:
        """The objective's terms of embeddings (V*B, D), view-major, of images with targets (B,)."""
        return self._objective(z.unflatten(0, (-1, len(targets))), targets)

    def _passes_of_batch(self, crops: int, attacked: int) -> int:
        """Forward-and-backward passes of a crop that one batch costs."""
        crafted = attacked if self.attacked_views.pair == "self" else crops
        return crops * self.adversary.replays + crafted * self.adversary.crafting_passes

    def _step_schedulers(self, end_of: str) -> None:
        # Once a batch, not once a replay: the schedule spans the run whatever the replays are.
        if self.cfg.scheduler.name == "reference_cyclic":
            end_of = {"replay": "step", "step": "batch"}.get(end_of, end_of)
        for config in self.trainer.lr_scheduler_configs:
            if config.interval == end_of:
                config.scheduler.step()  # type: ignore[call-arg]

    def _log_step(self, terms: Mapping[str, Tensor], probe: Mapping[str, Tensor]) -> None:
        log = self.log_dict
        names = {"total": f"train_{self.objective.name}_loss"}
        losses = {names.get(k, f"train_{k}"): v.detach() for k, v in terms.items()}
        log(losses, prog_bar=True, on_step=True, on_epoch=True)
        log(probe, on_step=True, on_epoch=True)
        optimizer: Any = self.optimizers()
        lr = optimizer.param_groups[0]["lr"]
        log({"lr": lr}, prog_bar=True, on_step=True, on_epoch=False)

    def _watch_collapse(self, z: Tensor, batch_idx: int) -> None:
        """Measure the embeddings (B, D) of one view where the other figures are written, too."""
        if self.objective.on_logits or not self._is_logging_due(batch_idx):
            return
        readings = self.collapse_watch.read(z, beginning=self.current_epoch == 0)
        self.log_dict(
            {f"train_z_{name}": value.float() for name, value in readings.items()},
            on_step=True,
            on_epoch=False,
        )

    def _is_logging_due(self, batch_idx: int) -> bool:
        return (batch_idx + 1) % self.cfg.get("log_every_n_steps", 50) == 0

    def _watch(self, loss: Tensor) -> None:
        finite = torch.isfinite(loss.detach())
        self._finite = finite if self._finite is None else self._finite & finite

    def check_finite(self) -> None:
        """Stop the run if any loss since the last check was NaN or infinite.

        Raises:
            NonFiniteLossError: it was.
        """
        finite, self._finite = self._finite, None
        if finite is not None and not finite:
            raise NonFiniteLossError(
                f"The loss is no longer finite (epoch {self.current_epoch}, "
                f"step {self.global_step}). "
                "Try a lower optimizer.lr, a larger batch, or precision=32-true."
            )

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Looks at the losses now and then: on a GPU each look makes the host wait."""
        super().on_train_batch_end(outputs, batch, batch_idx)
        trainer = self.trainer
        on_cpu = self.device.type == "cpu"
        if on_cpu or self._is_logging_due(batch_idx) or trainer.is_last_batch:
            try:
                self.check_finite()
            except NonFiniteLossError as error:
                error.batch = _named(batch)
                raise
        if trainer.is_last_batch:  # before callbacks save the epoch's checkpoint
            self._step_schedulers(end_of="epoch")

    # ---------------------------------------------------------------- state of the run

    def setup(self, stage: str) -> None:
        super().setup(stage)
        if self.global_rank:
            self.crops = self._build_crops(seed=self.cfg.get("seed", 0) + self.global_rank)
        performance = construct(Performance, section(self.cfg, "performance"), "performance")
        if stage == "fit" and performance.compile != "none":
            self._network = compile_whole(self._pass, performance.mode)
            self.adversary.compiled = True
            if _world_size() == 1:  # the gathering of embeddings has no graph
                self._objective = compile_whole(self.objective, performance.mode)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the config and what a resumed run needs, for every process."""
        super().on_save_checkpoint(checkpoint)
        state = {
            "adversary": self.adversary.state_dict(),
            "crops": self.crops.state_dict(),
            "random": random_state(self.device),
            "means": running_means(self.trainer),
        }
        states: list[Any] = [state]
        if _world_size() > 1:
            states = [None] * _world_size()
            dist.all_gather_object(states, state)
        checkpoint["solo_adv"] = {
            "method": self.cfg.method,
            "config": self.complete_config(),
            "crop_passes": self.crop_passes,
            "processes": states,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Continues the adversary and the crops where the checkpoint left them."""
        super().on_load_checkpoint(checkpoint)
        saved = checkpoint.get("solo_adv")
        if saved is None:
            return
        self.crop_passes = saved["crop_passes"]
        states = saved["processes"]
        if len(states) == _world_size():
            state = states[self.global_rank]
            self.adversary.load_state_dict(state["adversary"])
            self.crops.load_state_dict(state["crops"])
            self._resumed = {key: state[key] for key in ("random", "means") if key in state}

    def on_train_start(self) -> None:
        """The last moment before the first batch: setting up drew random numbers too."""
        super().on_train_start()
        # Lightning forgets to, where a schedule asked for the number of batches before the loops
        # were restored.
        self.trainer.fit_loop._load_combined_loader_states()
        if "random" in self._resumed:
            restore_random_state(self._resumed.pop("random"), self.device)


def plain_spec(spec: CropSpec) -> dict[str, Any]:
    """A ``CropSpec`` as the config's ``crops`` section has it."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in vars(spec).items()
    }


def _with_preset(adversary: type[Adversary], cfg: DictConfig) -> DictConfig:
    """The config with what ``preset`` stands for in the place of the options it names."""
    preset = cfg.get("preset")
    if preset is None:
        return cfg
    choice("preset", preset, PRESETS)
    accepted = accepted_settings(adversary)
    for key, value in PRESETS[preset].items():
        group, name = key.split(".")
        if group != "adversary" or name in accepted:
            OmegaConf.update(cfg, key, value, force_add=True)
    return cfg


def _probe(logits: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """Loss and accuracy of the online classifier over labelled crops; 0 where there are none."""
    labelled = (targets >= 0).sum().clamp(min=1)
    loss = F.cross_entropy(logits, targets, ignore_index=-1, reduction="sum") / labelled
    correct = (logits.detach().argmax(1) == targets).sum()
    return {"train_class_loss": loss, "train_acc1": correct * 100 / labelled}


def _named(batch: Any) -> dict[str, Tensor]:
    indexes, views, targets = batch
    views = [views] if isinstance(views, Tensor) else views
    named = {f"view_{number}": view for number, view in enumerate(views)}
    return {"indexes": indexes, "targets": targets, **named}


def _world_size() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
