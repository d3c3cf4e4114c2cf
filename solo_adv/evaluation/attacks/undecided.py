"""pyautoattack's gradient attacks, without the passes that cannot change a verdict any more.

An image that an attack has broken is decided; pyautoattack attacks it on until the batch is done.
Here it leaves the batch at once. What is done to the other images is the same to the last bit, as
far as the network computes an image's logits alike in batches of any size: each has its own step
size and history, and random numbers are drawn for the batch as it came.

Source:
    Croce and Hein 2020, https://arxiv.org/abs/2003.01690 (APGD) and
    https://arxiv.org/abs/1907.02044 (FAB), as https://github.com/fra31/auto-attack has them.
"""

from typing import Any

import torch
from pyautoattack import AutoAttack  # type: ignore[import-untyped]
from pyautoattack.autopgd_base import (  # type: ignore[import-untyped]
    APGDAttack,
    APGDAttack_targeted,
    check_zero_gradients,
)
from pyautoattack.fab_projections import projection_linf  # type: ignore[import-untyped]
from pyautoattack.fab_pt import FABAttack_PT  # type: ignore[import-untyped]
from torch import Tensor
from torch.nn.functional import cross_entropy

_MOMENTUM = 0.75
_SMALLEST_DISTANCE = 1e-8


def only_undecided(ensemble: AutoAttack) -> AutoAttack:
    """The same ensemble (L-infinity), with settings as they are, whose attacks drop broken images.

    Square drops them already.
    """
    ensemble.apgd.__class__ = _APGD
    ensemble.apgd_targeted.__class__ = _TargetedAPGD
    ensemble.fab.__class__ = _TargetedFAB
    return ensemble


class _DropsBroken:
    """APGD's inner loop; restarts and targets are pyautoattack's own."""

    y_target: Tensor | None
    # What pyautoattack's classes bring.
    model: Any
    loss: str
    n_iter: int
    n_iter_2: int
    n_iter_min: int
    size_decr: int
    thr_decr: float
    eps: float
    logger: Any
    dlr_loss: Any
    dlr_loss_targeted: Any
    check_oscillation: Any
    normalize: Any

    def attack_single_run(
        self, x: Tensor, y: Tensor, x_init: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Attack images (N, 3, H, W) that are all classified correctly.

        Returns:
            What pyautoattack's does, of which its caller takes the second and fourth: which images
            stand, bool (N,), and the images as they were when they broke.
        """
        start = self.normalize(2 * torch.rand(x.shape).to(x) - 1)
        now = (x + self.eps * start).clamp(0.0, 1.0)
        gradient, loss, right = self._pass(now, y)
        if self.loss.startswith("dlr"):
            check_zero_gradients(gradient.contiguous(), logger=self.logger)
        found, stands = now.clone(), right.clone()
        targets = self.y_target
        rows = {  # of the images that stand
            "x": x,
            "y": y,
            "place": torch.arange(len(x), device=x.device),
            "now": now,
            "before": now.clone(),
            "gradient": gradient,
            "loss": loss,
            "best": now.clone(),
            "best_gradient": gradient.clone(),
            "best_loss": loss.clone(),
            "best_loss_at_check": loss.clone(),
            "halved_at_check": torch.ones_like(loss),
            "step": 2.0 * self.eps * torch.ones_like(loss)[:, None, None, None],
        }
        losses = torch.zeros(self.n_iter, len(x), device=x.device)
        rows, losses = self._left(rows, losses, right)
        until_check, since_check = self.n_iter_2, 0
        for iteration in range(self.n_iter):
            if len(rows["y"]) == 0:
                break
            moved = self._step(rows, _MOMENTUM if iteration else 1.0)
            rows["before"], rows["now"] = rows["now"], moved
            rows["gradient"], rows["loss"], right = self._pass(moved, rows["y"])
            losses[iteration] = rows["loss"]
            if not right.all():
                broken = rows["place"][~right]
                found[broken], stands[broken] = moved[~right], False
                rows, losses = self._left(rows, losses, right)
            better = rows["loss"] > rows["best_loss"]
            _replace(rows["best"], better, rows["now"])
            _replace(rows["best_gradient"], better, rows["gradient"])
            _replace(rows["best_loss"], better, rows["loss"])
            since_check += 1
            if since_check == until_check:
                self._halve_steps(rows, losses, iteration, until_check)
                until_check, since_check = max(until_check - self.size_decr, self.n_iter_min), 0
        self.y_target = targets
        return found, stands, torch.zeros_like(stands), found

    def _left(
        self, rows: dict[str, Tensor], losses: Tensor, right: Tensor
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Without the images that are no longer classified correctly."""
        if self.y_target is not None:
            self.y_target = self.y_target[right]
        return {name: value[right] for name, value in rows.items()}, losses[:, right]

    def _pass(self, images: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Gradient of the loss, loss (N,), and which images are classified correctly."""
        images = images.detach().requires_grad_()
        with torch.enable_grad():
            logits = self.model(images)
            if self.loss == "ce":
                loss = cross_entropy(logits, y, reduction="none")
            elif self.loss == "dlr":
                loss = self.dlr_loss(logits, y)
            else:
                loss = self.dlr_loss_targeted(logits, y)
            (gradient,) = torch.autograd.grad(loss.sum(), [images])
        return gradient, loss.detach(), logits.detach().argmax(1) == y

    def _step(self, rows: dict[str, Tensor], momentum: float) -> Tensor:
        x, now = rows["x"], rows["now"]
        drift = now - rows["before"]
        ahead = self._projected(now + rows["step"] * rows["gradient"].sign(), x)
        return self._projected(now + (ahead - now) * momentum + drift * (1 - momentum), x)

    def _projected(self, images: Tensor, x: Tensor) -> Tensor:
        inside = torch.min(torch.max(images, x - self.eps), x + self.eps)
        return inside.clamp(0.0, 1.0)

    def _halve_steps(
        self, rows: dict[str, Tensor], losses: Tensor, iteration: int, steps: int
    ) -> None:
        """Where the loss did not get on, go back to the best point with half the step."""
        oscillates = self.check_oscillation(
            losses, iteration, steps, rows["best_loss"], k3=self.thr_decr
        )
        stuck = (rows["best_loss_at_check"] >= rows["best_loss"]).float()
        halve = torch.max(oscillates, (1.0 - rows["halved_at_check"]) * stuck)
        rows["halved_at_check"] = halve
        rows["best_loss_at_check"] = rows["best_loss"].clone()
        rows["step"] = torch.where((halve > 0)[:, None, None, None], rows["step"] / 2, rows["step"])
        rows["now"] = rows["now"].clone()
        _replace(rows["now"], halve > 0, rows["best"])
        _replace(rows["gradient"], halve > 0, rows["best_gradient"])


class _APGD(_DropsBroken, APGDAttack):
    pass


class _TargetedAPGD(_DropsBroken, APGDAttack_targeted):
    pass


class _TargetedFAB(FABAttack_PT):
    """Targeted FAB. It draws no random numbers, so each image is on its own from the start."""

    @torch.no_grad()
    def perturb(self, x: Tensor, y: Tensor) -> Tensor:
        """Attack images (N, 3, H, W); those that stand come back as they are."""
        attacked = x.clone()
        logits = self.predict(x)
        places = (logits.argmax(1) == y).nonzero().squeeze(1)
        ranked = logits.argsort(1)
        for target in range(2, self.n_target_classes + 2):
            if len(places) == 0:
                break
            found, stands = self._run(x[places], y[places], ranked[places, -target])
            attacked[places[~stands]] = found[~stands]
            places = places[stands]
        return attacked

    def _run(self, x: Tensor, y: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Go for one target class (N,): images as they broke, and which stand, bool (N,)."""
        found, stands = x.clone(), torch.ones_like(y, dtype=torch.bool)
        places = torch.arange(len(x), device=x.device)
        now = x.clone()
        for _ in range(self.n_iter):
            df, dg = self.get_diff_logits_grads_batch_targeted(now, y, target)
            now = self._step(x, now, df[:, 0], dg[:, 0])
            crossed = self.predict(now).argmax(1) != y
            broken = crossed & ((now - x).abs().flatten(1).amax(1) <= self.eps)
            found[places[broken]], stands[places[broken]] = now[broken], False
            # Beyond the boundary but too far away: come closer.
            crossed = crossed & ~broken
            now = torch.where(crossed[:, None, None, None], x + (now - x) * self.beta, now)
            if broken.any():
                x, y, target, places, now = (rows[~broken] for rows in (x, y, target, places, now))
                if len(places) == 0:
                    break
        return found, stands

    def _step(self, x: Tensor, now: Tensor, df: Tensor, dg: Tensor) -> Tensor:
        """Onto the linearised boundary ``df + dg (z - now) = 0``, drawn towards ``x``."""
        flat, normal = now.flatten(1), dg.flatten(1)
        offset = (dg * now).flatten(1).sum(-1) - df
        moves = projection_linf(
            torch.cat([flat, x.flatten(1)]), normal.repeat(2, 1), offset.repeat(2)
        )
        far = moves.abs().amax(1).clamp(min=_SMALLEST_DISTANCE)[:, None, None, None]
        of_now, of_x = moves.view(2, *x.shape)
        alpha = (far[: len(x)] / (far[: len(x)] + far[len(x) :])).clamp(0.0, self.alpha_max)
        blended = (now + self.eta * of_now) * (1 - alpha) + (x + of_x * self.eta) * alpha
        return blended.clamp(0.0, 1.0)


def _replace(values: Tensor, where: Tensor, others: Tensor) -> None:
    """In place: the rows of ``values`` that ``where`` (N,) marks become those of ``others``."""
    where = where.view(-1, *[1] * (values.ndim - 1))
    torch.where(where, others, values, out=values)
