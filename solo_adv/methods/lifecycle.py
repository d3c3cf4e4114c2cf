"""The parts of a run around the training step: schedules, logging, checks, exact resuming."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor

from solo_adv.adversaries import Adversary
from solo_adv.crops import CropPipeline
from solo_adv.methods.accumulation import Accumulation
from solo_adv.methods.bank import Bank
from solo_adv.methods.run_state import (
    add_running_means,
    random_state,
    restore_random_state,
    running_means,
)
from solo_adv.methods.watch import CollapseWatch
from solo_adv.objectives import Objective
from solo_adv.support.errors import UserError
from solo_adv.support.processes import world_size

if TYPE_CHECKING:
    from solo_adv.methods.contract import HostMethod as _Host
else:
    _Host = object


class NonFiniteLossError(UserError):
    """The loss became NaN or infinite. The weights are lost, but earlier checkpoints are not.

    Attributes:
        batch: the tensors, by name, of the batch after which it was noticed.
    """

    batch: Mapping[str, Tensor] = MappingProxyType({})


class Lifecycle(_Host):
    """The parts of a method around its training step, which ``AdversarialMethod`` adds.

    Attributes:
        crop_passes: number of crop passes of the run so far, in all processes together.
        collapse_watch: measures the embeddings at the steps that are logged.
    """

    objective: Objective
    adversary: Adversary
    accumulation: Accumulation[Any]
    crops: CropPipeline
    bank: Bank | None

    def __init__(self, cfg: Any) -> None:
        super().__init__(cfg)
        self.crop_passes = 0
        self.collapse_watch = CollapseWatch()
        self._finite: Tensor | None = None
        self._resumed: dict[str, Any] = {}

    # ---------------------------------------------------------------- in the step

    def _step_schedulers(self, end_of: str) -> None:
        # Schedules advance once a batch, not once a replay, so that they span the run for any
        # number of replays. Only the reference code's schedule advances once a replay.
        if self.cfg.scheduler.name == "reference_cyclic":
            end_of = {"replay": "step", "step": "batch"}.get(end_of, end_of)
        for config in self.trainer.lr_scheduler_configs:
            if config.interval == end_of:
                config.scheduler.step()  # type: ignore[call-arg]

    def _log_step(self, terms: Mapping[str, Tensor], probe: Mapping[str, Tensor]) -> None:
        log = self.log_dict
        names = {"total": f"train_{self.objective.name}_loss"}
        losses = {names.get(k, f"train_{k}"): v for k, v in terms.items()}
        log(losses, prog_bar=True, on_step=True, on_epoch=True)
        log(probe, on_step=True, on_epoch=True)
        optimizer: Any = self.optimizers()
        lr = optimizer.param_groups[0]["lr"]
        # Lightning would copy a number to the GPU, which waits for it; filling a tensor does not.
        rate = {"lr": torch.full((), lr, device=self.device)}
        log(rate, prog_bar=True, on_step=True, on_epoch=False)

    def _watch_collapse(self, z: Tensor, batch_idx: int) -> None:
        """Measure the embeddings (B, D) of one view if the step is logged."""
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
            NonFiniteLossError: a loss was NaN or infinite.
        """
        finite, self._finite = self._finite, None
        if finite is not None and not finite:
            raise NonFiniteLossError(
                f"The loss is no longer finite (epoch {self.current_epoch}, "
                f"step {self.global_step}). "
                "Try a lower optimizer.lr, a larger batch, or precision=32-true."
            )

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Check the losses and end the epoch's schedules.

        On a GPU the losses are checked only at the steps that are logged, because each check waits
        for the GPU.
        """
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

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        """Clip the gradients of the update, which are unscaled by now, if the config says so.

        Lightning does not do it for methods that step the optimiser by themselves.
        """
        super().on_before_optimizer_step(optimizer)
        bound = self.cfg.get("gradient_clip_val")
        if bound:
            algorithm = self.cfg.get("gradient_clip_algorithm") or "norm"
            self.clip_gradients(optimizer, bound, algorithm)

    def _add_running_means(self) -> None:
        add_running_means(self.trainer, self._resumed.pop("means", {}))

    # ---------------------------------------------------------------- state of the run

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the config, and the state of every process, to the checkpoint."""
        super().on_save_checkpoint(checkpoint)
        state = {
            "adversary": self.accumulation.state_dict(),
            "crops": self.crops.state_dict(),
            "random": random_state(self.device),
            "means": running_means(self.trainer),
            "between_epochs": bool(self.trainer.is_last_batch),
        }
        states: list[Any] = [state]
        if world_size() > 1:
            states = [None] * world_size()
            dist.all_gather_object(states, state)
        checkpoint["solo_adv"] = {
            "method": self.cfg.method,
            "config": self.complete_config(),
            "crop_passes": self.crop_passes,
            "processes": states,
        }
        if self.bank is not None:
            checkpoint["solo_adv"]["bank"] = self.bank.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the adversary and the crops from the checkpoint.

        Raises:
            UserError: the run began with a teacher of other weights.
        """
        super().on_load_checkpoint(checkpoint)
        saved = checkpoint.get("solo_adv")
        if saved is None:
            return
        taught = (saved["config"].get("teacher") or {}).get("weights")
        if taught not in (None, self.cfg.teacher.weights):
            raise UserError(
                f"This run began with a teacher of the weights {taught}, and teacher.checkpoint="
                f"{self.cfg.teacher.checkpoint} holds {self.cfg.teacher.weights}: give the teacher "
                "that it began with."
            )
        self.crop_passes = saved["crop_passes"]
        if "bank" in saved:
            self.bank = Bank.from_state(saved["bank"])
        states = saved["processes"]
        if len(states) == world_size():
            state = states[self.global_rank]
            self.accumulation.load_state_dict(state["adversary"])
            self.crops.load_state_dict(state["crops"])
            kept = ("random", "means", "between_epochs")
            self._resumed = {key: state[key] for key in kept if key in state}
        if self._resumed.get("between_epochs"):
            # The loader starts next and draws random numbers, as it does in an uninterrupted run.
            self._continue_random_numbers()

    def on_train_start(self) -> None:
        """Restore the loaders, and the random state of a run that was stopped within an epoch.

        The run's loader had drawn its random numbers before it was stopped. The random state is
        therefore restored only now, after the loader has started.
        """
        super().on_train_start()
        # Lightning does not restore the loaders if a schedule asked for the number of batches
        # before the loops were restored.
        self.trainer.fit_loop._load_combined_loader_states()
        self._continue_random_numbers()

    def _continue_random_numbers(self) -> None:
        if "random" in self._resumed:
            restore_random_state(self._resumed.pop("random"), self.device)


def _named(batch: Any) -> dict[str, Tensor]:
    indexes, views, targets = batch
    views = [views] if isinstance(views, Tensor) else views
    named = {f"view_{number}": view for number, view in enumerate(views)}
    return {"indexes": indexes, "targets": targets, **named}
