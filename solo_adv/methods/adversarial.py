"""The training step that all methods share. It joins an objective and an adversary on any host.

Shapes: V crops are cut from each of B images. They travel as one tensor (V*B, 3, h, w), view-major,
and their embeddings are (V, B, D).
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from omegaconf import DictConfig
from torch import Tensor, nn

from solo_adv.adversaries import Adversary, batch_norm_during_attack, parameters_frozen
from solo_adv.crops import CropOptions, CropPipeline, CropSpec, as_unit_float, join_views
from solo_adv.crops import build as build_crops
from solo_adv.data.loaders import number_of_images
from solo_adv.encoders.batch_norms import CLEAN, batch_norm_branch, with_two_batch_norms
from solo_adv.encoders.projector import Projector
from solo_adv.methods import completion
from solo_adv.methods.accumulation import Accumulation
from solo_adv.methods.attacked_views import AttackedViews, Group, join
from solo_adv.methods.averaging import AveragedWeights, Averaging
from solo_adv.methods.bank import Bank, compute_bank
from solo_adv.methods.chunks import pass_in_chunks
from solo_adv.methods.lifecycle import Lifecycle
from solo_adv.methods.performance import Performance, on_cpu
from solo_adv.methods.replay_graph import Replayed, ReplayGraph, check_device
from solo_adv.methods.run_length import batches_in_all
from solo_adv.methods.teacher import FrozenTeacher, Teacher, read_teacher, start_from
from solo_adv.objectives import Objective, Update
from solo_adv.support.allocator import keep_freed_memory
from solo_adv.support.compiling import compile_whole
from solo_adv.support.errors import UserError
from solo_adv.support.processes import world_size
from solo_adv.support.settings import construct, section


class Batch(NamedTuple):
    """One batch, in the form that all updates on it share."""

    clean: Tensor
    """Crops that stay clean (M, 3, h, w), view-major. There may be none (M = 0)."""
    attacked: Tensor
    """Crops that will be attacked (N, 3, h, w), view-major, before the attack."""
    labels: Tensor
    """Labels of the images (B,), -1 where unlabelled; their clusters, if the objective needs
    clusters."""
    teacher: Tensor | None
    """The teacher's outputs (V*B, D') on all crops before they were split into clean and attacked
    ones, from :meth:`AdversarialMethod.prepare` or the bank. None without a teacher."""
    plain: Tensor | None = None
    """The images without augmentation (B, 3, h, w), if the objective wants them."""
    progress: float | Tensor = 0.0
    """How much of the run is done, from 0 to 1; a scalar tensor where a number would stay as it was
    when the step was compiled or recorded."""


class Held(NamedTuple):
    """A batch that waits for the update it has a part in, with its targets (B,)."""

    batch: Batch
    targets: Tensor


class AdversarialMethod(Lifecycle):
    """The base class of methods. Each host joins it to its own ``BaseMethod`` (see ``host/``).

    The host's class has ``backbone``, ``classifier``, ``features_dim``, ``forward`` with ``logits``
    and ``feats``, optimisers and validation. It also has ``to_pixels``, which turns the images that
    its loader delivers into pixels in [0, 1], and ``from_pixels``, which turns pixels into what its
    ``forward`` takes (``methods/contract.py`` has the whole list).

    Extra cfg settings:
        method_kwargs:
            proj_hidden_dim (int): width of the projector's hidden layers.
            proj_output_dim (int): dimension of the embeddings.
            (and the settings of the objective)
        adversary: the settings of the adversary, and of ``AttackedViews``.
        teacher: the fields of ``TeacherSettings``; a bank is computed before the first batch.
        averaging: the fields of ``Averaging``.
        backbone.batch_norms (int): 2 adds a second batch norm, for clean views.
        preset: ``reference`` takes the choices of the paper's code that change results; a method
            may have others in ``presets``.
        crops: the fields of ``CropOptions`` and ``CropSpec``. Activations of at most ``chunk``
            crops are in memory at a time.
        performance: the fields of ``Performance``.
        accumulate_grad_batches (int): number of batches whose gradients each update averages.
        gradient_clip_val, gradient_clip_algorithm: bound on the gradients of each update.
        precision: Lightning's precision, or ``auto``, which takes bfloat16 if the hardware
            multiplies it fast.
    """

    objective_class: ClassVar[type[Objective]]
    adversary_class: ClassVar[type[Adversary]]
    default_crops: ClassVar[str] = "multi_crop"
    default_attacked_views: ClassVar[AttackedViews] = AttackedViews()
    default_averaging: ClassVar[Averaging] = Averaging()
    presets: ClassVar[completion.OwnPresets] = {}

    # Free training takes several optimiser steps on a batch.
    automatic_optimization = False

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__(cfg)
        cfg = self.cfg
        method_kwargs = section(cfg, "method_kwargs")
        dims = [method_kwargs.pop(f"proj_{layer}_dim", None) for layer in ("hidden", "output")]
        self.objective = construct(self.objective_class, method_kwargs, "method_kwargs")
        self.attacked_views, self.adversary = completion.build_adversary(cfg, self.adversary_class)
        self.accumulation: Accumulation[Held] = Accumulation(
            cfg.get("accumulate_grad_batches") or 1, self.adversary
        )
        taught = completion.teacher_settings(cfg)
        if self.objective.on_logits and self.objective.projector:
            dims[1] = cfg.method_kwargs.proj_output_dim = cfg.data.num_classes
        self.projector = self._build_projector(*dims)
        self.head = self._build_head(taught.clusters)
        if taught.start_student:
            start_from(read_teacher(taught)[0], self.backbone, taught.checkpoint)
        self.batch_norms: int = cfg.backbone.batch_norms
        if self.batch_norms == 2:
            with_two_batch_norms(self.backbone, cfg.backbone.name)
            if self.projector is not None:
                with_two_batch_norms(self.projector, "the projector")
        averaging = completion.averaging_settings(cfg)
        self.momentum = averaging.views == "second"
        self.averaged = self._build_average(averaging.decay)
        self.teacher = self._build_teacher()
        self._taught_by_batch = taught.passes_crops  # a bank is computed before the first batch
        self.bank: Bank | None = None
        self.crops = self._build_crops(seed=cfg.get("seed", 0))
        self.spec, options = self.crop_settings(cfg)
        self._drawn_from, self.anneal = self.spec, options.anneal
        if options.source == "loader" and self.spec_at(1.0) != self.spec:
            raise UserError(
                f"method={cfg.method} changes its crops over the run, so it must draw them itself: "
                f"use {completion.DRAWN_BY_STEP}."
            )
        self.chunk = options.chunk
        self._network: Callable[[Tensor], dict[str, Tensor]] = self._pass
        self._loss: Callable[[Update], Any] = self.objective
        self._crafting: Callable[[Update], Tensor] = self.objective.crafting
        self._progress_as_tensor = False
        self._graphed = False
        self._graph: ReplayGraph | None = None
        self._batch_in_epoch = 0

    # ---------------------------------------------------------------- configuration

    @classmethod
    def add_and_assert_specific_cfg(cls, cfg: DictConfig) -> DictConfig:
        """Fill in the method's defaults and check its settings, before anything is built.

        Raises:
            UserError: a key is unknown or a value out of range; the message says what is accepted.
        """
        views = cls.default_attacked_views
        completion.follow_teacher(cfg)
        cfg = super().add_and_assert_specific_cfg(
            completion.with_preset(cfg, cls.adversary_class, views, cls.presets)
        )
        completion.fill_in(
            cfg,
            objective=cls.objective_class,
            adversary=cls.adversary_class,
            default_views=views,
            default_averaging=cls.default_averaging,
            default_crops=cls.default_crops,
        )
        spec, options = cls.crop_settings(cfg)
        completion.check(
            cfg,
            objective_class=cls.objective_class,
            adversary_class=cls.adversary_class,
            spec=spec,
            options=options,
        )
        return cfg

    @classmethod
    def crop_settings(cls, cfg: DictConfig) -> tuple[CropSpec, CropOptions]:
        """The crops that a complete config draws at the start of a run, and options for how."""
        return completion.crop_settings(cfg, cls.crop_size(cfg))

    # ---------------------------------------------------------------- parts

    def _build_projector(self, hidden_dim: int | None, output_dim: int | None) -> Projector | None:
        if not self.objective.projector:
            return None
        assert hidden_dim is not None
        assert output_dim is not None
        unit = not self.objective.on_logits
        return Projector(self.features_dim, hidden_dim, output_dim, unit=unit)

    def _build_head(self, clusters: int) -> nn.Linear | None:
        """The layer from features to logits, for an objective on logits that has no projector."""
        if not self.objective.on_logits or self.objective.projector:
            return None
        classes = clusters if self.objective.needs_clusters else self.cfg.data.num_classes
        return nn.Linear(self.features_dim, classes)

    def _build_average(self, decay: float) -> AveragedWeights | None:
        if not decay:
            return None
        networks = {"backbone": self.backbone, "projector": self.projector, "head": self.head}
        return AveragedWeights(
            decay,
            {k: net for k, net in networks.items() if net is not None},
            own_statistics=self.momentum,
        )

    def _build_teacher(self) -> Teacher | None:
        settings = completion.teacher_settings(self.cfg)
        if settings.reads_checkpoint:
            encoder, _ = read_teacher(settings)
            compared = self.objective.needs_teacher and not self.objective.projector
            if compared and encoder.features_dim != self.features_dim:
                raise UserError(
                    f"method={self.cfg.method} compares the teacher's {encoder.features_dim} "
                    f"features (teacher.features={encoder.features}) with the student's "
                    f"{self.features_dim}: use teacher.features=backbone and a backbone whose "
                    "features have the size of the teacher's."
                )
            return FrozenTeacher(encoder)
        return self._averaged_outputs if settings.kind == "average" else None

    def _averaged_outputs(self, pixels: Tensor) -> Tensor:
        """The embeddings that the averaged weights compute for pixels (N, 3, h, w) in [0, 1]."""
        assert self.averaged is not None
        with self.averaged.in_place_of(self):
            return self._pass(pixels)["z"]

    def _build_crops(self, seed: int) -> CropPipeline:
        spec, options = self.crop_settings(self.cfg)
        # If the loader delivers finished crops, this pipeline is not used, and it must not require
        # the library of another backend.
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
        """The base's parameter groups, and the projector's or the head's."""
        groups = list(super().learnable_params)
        for name, part in (("projector", self.projector), ("head", self.head)):
            if part is not None:
                groups.append({"name": name, "params": part.parameters()})
        return groups

    def forward(self, X: Tensor) -> dict[str, Tensor]:
        """Compute ``logits``, ``feats`` and ``z`` of images from the host's loader.

        A method with a projector adds ``hidden``. Without a projector, ``z`` is the same as
        ``feats``.
        """
        return self._project(super().forward(X))

    def multicrop_forward(self, X: Tensor) -> dict[str, Tensor]:
        """Compute what :meth:`forward` computes, without ``logits``."""
        return self._project(super().multicrop_forward(X))

    def _project(self, out: dict[str, Tensor]) -> dict[str, Tensor]:
        if self.head is not None:
            return {**out, "z": self.head(out["feats"])}
        if self.projector is None:
            return {**out, "z": out["feats"]}
        hidden, z = self.projector(out["feats"])
        return {**out, "hidden": hidden, "z": z}

    # ---------------------------------------------------------------- hooks for a method

    def spec_at(self, progress: float) -> CropSpec:
        """The crops to draw when the share ``progress`` (0 to 1) of the run is done.

        By default they are the config's, ``self.spec``, weakened as ``crops.anneal`` says. A method
        with another schedule overrides this. It must not change ``num_crops`` and ``size``.
        """
        return self.anneal.at(self.spec, progress)

    def prepare(self, crops: Tensor, labels: Tensor) -> Tensor | None:
        """Compute the teacher's outputs for the objective, once for each batch.

        Args:
            crops: clean crops (V*B, 3, h, w) in [0, 1], view-major.
            labels: labels of the images (B,).

        Returns:
            The teacher's outputs (V*B, D') on the crops, without gradient; None without a teacher.
        """
        if self.teacher is None or not self._taught_by_batch:
            return None
        with torch.no_grad():
            return self.teacher(crops)

    # ---------------------------------------------------------------- training

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """Cut the crops, then perturb them and update weights and adversary in each replay.

        Args:
            batch: ``[indexes, views, targets]`` from the host's loader. ``views`` is a list of
                image batches. With ``crops.source=loader`` they are the crops; with
                ``crops.source=device`` the crops are cut from the first. Targets are (B,), -1 where
                unlabelled.
            batch_idx: index of the batch in the epoch.
        """
        indexes, views, targets = batch
        self._batch_in_epoch = batch_idx
        self.adversary.progress = self.progress
        views = [views] if isinstance(views, Tensor) else views
        crops = self._crops_of(views)
        if not self.no_channel_last:
            crops = crops.contiguous(memory_format=torch.channels_last)
        prepared = self.batch_of(crops, targets, indexes)
        if self.objective.wants_plain:
            prepared = prepared._replace(plain=self._plain(views[0]))
        self.accumulation.held.append(Held(prepared, targets))
        if self._is_update_due(batch_idx):
            self._update_weights(batch_idx)
            self.accumulation.held.clear()
        self._step_schedulers(end_of="step")
        self.crop_passes += self._passes_of(crops, len(targets)) * world_size()

    def _is_update_due(self, batch_idx: int) -> bool:
        batches = self.accumulation.batches
        return batches == 1 or (batch_idx + 1) % batches == 0 or bool(self.trainer.is_last_batch)

    def _update_weights(self, batch_idx: int) -> None:
        """Make the updates, one a replay, on the held batches, and log the last one."""
        held = self.accumulation.held
        replay = self._replay_of(held)
        for _ in range(self.adversary.replays):
            results = replay()
            for result in results:
                self._watch(result.terms["total"])
                self._step_schedulers(end_of="replay")

        self._log_step(_mean([r.terms for r in results]), _mean([r.probe for r in results]))
        self._watch_collapse(results[-1].z, batch_idx)
        self._add_running_means()
        for result, (_, targets) in zip(results, held, strict=True):
            views_seen = min(2, len(result.features) // len(targets))
            self.observe(result.features[: views_seen * len(targets)], targets.repeat(views_seen))

    def _replay_of(self, held: Sequence[Held]) -> Callable[[], list[Replayed]]:
        """What takes a replay of the held batches: this method itself, or a graph of it."""
        optimizer: Any = self.optimizers()
        if not self._graphed:
            return lambda: self._replay(held, optimizer.step)
        if self._graph is None:
            name, device = self.cfg.optimizer.name, self.device
            self._graph = ReplayGraph(
                lambda tensors, step: self._replay([_held(tensors)], step)[0],
                *(optimizer, name, self.adversary, device),
            )
        graph = self._graph
        graph.begin(_tensors(held[0]))
        return lambda: [graph()]

    def _replay(self, held: Sequence[Held], step: Callable[[], Any]) -> list[Replayed]:
        """Attack batches, pass them, and update the weights by ``step`` and the adversary."""
        optimizer: Any = self.optimizers()
        optimizer.zero_grad()
        deltas: list[Tensor | None] = []
        results = []
        for _, (prepared, targets) in self.accumulation.over(held):
            delta = self.perturb(prepared)
            out, update = self.updated(prepared, delta)
            loss = self._loss(update)
            probe = _probe(out["logits"], targets.repeat(len(out["logits"]) // len(targets)))
            self.manual_backward((loss.total + probe["train_class_loss"]) / len(held))
            deltas.append(delta)
            z = out["z"][: len(targets)].detach()
            terms = (_detached(loss._asdict()), _detached(probe))
            results.append(Replayed(*terms, out["feats"].detach(), z))
        if self.averaged is not None and self.momentum:
            self.averaged.update(self)
        step()
        for place, (prepared, _) in self.accumulation.over(held):
            self.adversary.update(prepared.attacked, deltas[place])
        if self.averaged is not None and not self.momentum:
            self.averaged.update(self)
        return results

    @property
    def between_updates(self) -> bool:
        """Whether no batch waits for an update; only then a checkpoint loses nothing."""
        return not self.accumulation.held

    def _passes_of(self, crops: Tensor, images: int) -> int:
        """Crop passes that a batch of ``images`` images with crops (V*B, 3, h, w) costs."""
        passes = self.attacked_views.passes(
            self.adversary,
            num_crops=len(crops) // images,
            taught=self._taught_by_batch,
            momentum=self.momentum,
            plain=self.objective.wants_plain,
        )
        return round(passes * images)

    @property
    def progress(self) -> float:
        """How much of the run is done at the start of the current batch, from 0 to 1.

        It is 0 for a method that no Trainer runs.
        """
        trainer = self._trainer
        if trainer is None:
            return 0.0
        total = self.total_batches
        if not total:
            return 0.0
        done = self.current_epoch * trainer.num_training_batches + self._batch_in_epoch
        return min(1.0, done / total)

    @property
    def total_batches(self) -> int:
        """The number of batches of the run; 0 if it is not known."""
        return batches_in_all(
            self.trainer,
            replays=self.adversary.replays,
            accumulated=self.accumulation.batches,
        )

    def _crops_of(self, views: Sequence[Tensor]) -> Tensor:
        """Cut the crops (V*B, 3, h, w) in [0, 1], view-major, or join those of the loader."""
        if self.cfg.crops.source == "device":
            spec = self.spec_at(self.progress)
            if spec != self._drawn_from:
                self._drawn_from = spec
                self.crops.respec(spec)
            return self.crops(self.to_pixels(views[0]))
        size = self.spec.size
        sizes = [tuple(view.shape[2:]) for view in views]
        fitting = [view for view, its in zip(views, sizes, strict=True) if its == (size, size)]
        needed = self.attacked_views.crops_needed(self.objective.min_views)
        if len(fitting) < needed:
            raise UserError(
                f"crops.source=loader needs at least {needed} views of crops.size={size} pixels "
                f"from the loader; got views of the sizes {sizes}. "
                f"To draw the crops in the training step, use {completion.DRAWN_BY_STEP}."
            )
        return as_unit_float(self.to_pixels(join_views(fitting)))

    def _plain(self, images: Tensor) -> Tensor:
        """Whole images from the host's loader as crops of the usual size, without augmentation."""
        pixels = as_unit_float(self.to_pixels(images))
        size = (self.spec.size, self.spec.size)
        if pixels.shape[2:] == size:
            return pixels
        return F.interpolate(pixels, size, mode="bilinear", antialias=True, align_corners=False)

    def batch_of(self, crops: Tensor, targets: Tensor, indexes: Tensor | None = None) -> Batch:
        """Make a :class:`Batch`.

        Args:
            crops: crops (V*B, 3, h, w) in [0, 1], view-major.
            targets: labels of the images (B,).
            indexes: places of the images in the training set (B,), which a bank needs. None takes
                the first images of the bank.
        """
        clean, attacked = self.attacked_views.split(crops, len(targets))
        labels, taught = targets, self.prepare(crops, targets)
        if self.bank is not None:
            rows = torch.arange(len(targets)) if indexes is None else indexes
            rows = rows.to(self.bank.targets.device)
            taught = self.bank.of(rows, len(crops) // len(targets))
            if self.objective.needs_clusters:
                assert self.bank.clusters is not None
                labels = self.bank.clusters[rows]
        progress: Any = self.progress
        if self._progress_as_tensor:
            progress = crops.new_full((), progress, dtype=torch.float32)
        return Batch(clean, attacked, labels, taught, progress=progress)

    def perturb(self, batch: Batch) -> Tensor | None:
        """The adversary's perturbation (N, 3, h, w) of the crops to attack; None adds nothing."""
        views, adversary = self.attacked_views, self.adversary
        freeze = nullcontext() if adversary.accumulate_gradients else parameters_frozen(self)
        own_selves = views.pair == "self"

        def embed(clean: Tensor, attacked: Tensor) -> Tensor:
            return self.outputs_of(clean, attacked, len(batch.labels))["z"]

        def loss(z: Tensor) -> Tensor:
            update = self._shown(z, batch, len(batch.attacked), own_selves=own_selves)
            return self._crafting(update)

        with batch_norm_during_attack(self, adversary.batch_norm), freeze:
            crafting_loss = views.crafting_loss(
                batch.clean, batch.attacked, embed, loss, hold_clean=views.holds_clean(adversary)
            )
            return adversary.perturb(batch.attacked, crafting_loss)

    def updated(self, batch: Batch, delta: Tensor | None) -> tuple[dict[str, Tensor], Update]:
        """Pass the perturbed batch through the network.

        Args:
            batch: a batch from :meth:`batch_of`.
            delta: perturbation of the attacked crops (N, 3, h, w), or None.

        Returns:
            The network's outputs, as :meth:`outputs_of` returns them, and the objective's input.
        """
        attacked = batch.attacked if delta is None else batch.attacked + delta
        out = self.outputs_of(batch.clean, attacked, len(batch.labels))
        update = self._shown(out["z"], batch, 0 if delta is None else len(attacked))
        if batch.plain is not None:
            plain = self._outputs_of_group(Group(batch.plain, CLEAN))["z"]
            update = update._replace(plain=plain)
        return out, update

    def outputs_of(self, clean: Tensor, attacked: Tensor, batch: int) -> dict[str, Tensor]:
        """Compute ``logits``, ``feats`` and ``z``, each (M + N, ...), of clean and attacked crops.

        If averaged networks pass some of the crops (``averaging.views``), ``z`` has their
        embeddings, and ``logits`` and ``feats`` have no rows for these crops.

        Args:
            clean: clean crops (M, 3, h, w) in [0, 1], view-major. M may be 0.
            attacked: perturbed crops (N, 3, h, w), view-major. N may be 0.
            batch: B, the number of images in the batch.
        """
        groups = self.attacked_views.groups(clean, attacked, batch, momentum=self.momentum)
        parts = [self._outputs_of_group(group) for group in groups]
        if len(parts) == 1:
            return parts[0]
        return {
            name: torch.cat([part[name] for part in parts if name in part]) for name in parts[0]
        }

    def _outputs_of_group(self, group: Group) -> dict[str, Tensor]:
        pixels = group.pixels
        network = self._averaged_network if group.averaged else self._network
        with batch_norm_branch(self, group.branch if self.batch_norms == 2 else None):
            if self.chunk is None or len(pixels) <= self.chunk:
                return network(pixels)
            return pass_in_chunks(network, pixels, self.chunk, model=self, branch=group.branch)

    def _averaged_network(self, pixels: Tensor) -> dict[str, Tensor]:
        assert self.averaged is not None
        with self.averaged.in_place_of(self):
            return {"z": self._network(pixels)["z"]}

    def _pass(self, pixels: Tensor) -> dict[str, Tensor]:
        out = self(self.from_pixels(pixels))
        return {name: out[name] for name in ("logits", "feats", "z")}

    def _shown(self, z: Tensor, batch: Batch, attacked: int, *, own_selves: bool = False) -> Update:
        """Make the objective's input from embeddings.

        Args:
            z: embeddings (V*B, D), view-major, of which the last ones are attacked.
            batch: the batch that they belong to.
            attacked: how many of the embeddings are attacked.
            own_selves: whether the embeddings are not of the whole batch, but of the attacked crops
                alone, first without perturbation and then with it.
        """
        views = z.unflatten(0, (-1, len(batch.labels)))
        first_attacked = (len(z) - attacked) // len(batch.labels)
        mask = torch.arange(len(views), device=z.device) >= first_attacked
        taught = self._taught(batch, own_selves)
        center = None if self.bank is None else self.bank.center
        progress: Any = batch.progress
        return Update(views, mask, batch.labels, taught, progress, first_attacked, center)

    def _taught(self, batch: Batch, own_selves: bool) -> Tensor | None:
        """The teacher's outputs (V, B, D') on the clean crop of each view."""
        if batch.teacher is None:
            return None
        clean, attacked = self.attacked_views.split(batch.teacher, len(batch.labels))
        rows = join(attacked, attacked) if own_selves else join(clean, attacked)
        return rows.unflatten(0, (-1, len(batch.labels)))

    def on_train_start(self) -> None:
        """Compute the bank of targets, unless the run is resumed and has it already."""
        super().on_train_start()
        settings = completion.teacher_settings(self.cfg)
        if settings.kind != "bank":
            return
        if self.bank is None:
            assert isinstance(self.teacher, FrozenTeacher)
            loader: Any = self.trainer.train_dataloader
            self.bank = compute_bank(
                self.teacher,
                loader,
                settings,
                to_pixels=self.to_pixels,
                device=self.device,
                seed=self.cfg.get("seed", 0),
            )
            self.crop_passes += round(number_of_images(loader) * settings.bank_passes)
            # The targets are the student's own features only if it starts from the teacher.
            own = settings.start_student and self.teacher.encoder.features == "backbone"
            if self.head is not None and own:
                self.head.load_state_dict(self.bank.head().state_dict())
        self.bank = self.bank.to(self.device, next(self.parameters()).dtype)

    def setup(self, stage: str) -> None:
        super().setup(stage)
        if self.global_rank:
            self.crops = self._build_crops(seed=self.cfg.get("seed", 0) + self.global_rank)
        performance = construct(Performance, section(self.cfg, "performance"), "performance")
        keep = performance.keep_freed_memory
        if keep or (keep is None and on_cpu(self.cfg)):
            keep_freed_memory()
        if stage == "fit" and performance.compile != "none":
            self._network = compile_whole(self._pass, performance.mode)
            self.adversary.compiled = True
            if world_size() == 1:  # gathering embeddings from processes cannot be compiled
                self._loss = compile_whole(self.objective, performance.mode)
                self._crafting = compile_whole(self.objective.crafting, performance.mode)
                self._progress_as_tensor = True
        if stage == "fit" and performance.graph == "replay":
            self._graphed = self._progress_as_tensor = True

    def on_fit_start(self) -> None:
        """Refuse a device without graphs if the config asks for one."""
        super().on_fit_start()
        if self._graphed:
            check_device(self.device, world_size())


def _tensors(held: Held) -> dict[str, Tensor]:
    """A batch as tensors by name; those that it lacks are left out."""
    named = {**held.batch._asdict(), "targets": held.targets}
    return {name: tensor for name, tensor in named.items() if tensor is not None}


def _held(tensors: Mapping[str, Tensor]) -> Held:
    """The batch that :func:`_tensors` made into tensors."""
    named: dict[str, Any] = {"teacher": None, **tensors}
    targets = named.pop("targets")
    return Held(Batch(**named), targets)


def _detached(terms: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in terms.items()}


def _mean(terms: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of each term over several batches."""
    if len(terms) == 1:
        return dict(terms[0])
    return {name: torch.stack([part[name] for part in terms]).mean(0) for name in terms[0]}


def _probe(logits: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """Loss and accuracy (in percent) of the online classifier over the labelled crops.

    Both are 0 if no crop is labelled.
    """
    labelled = (targets >= 0).sum().clamp(min=1)
    loss = F.cross_entropy(logits, targets, ignore_index=-1, reduction="sum") / labelled
    correct = (logits.detach().argmax(1) == targets).sum()
    return {"train_class_loss": loss, "train_acc1": correct * 100 / labelled}
