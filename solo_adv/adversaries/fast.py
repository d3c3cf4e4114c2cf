"""Fast adversarial training: one or a few large steps from a noisy start."""

import torch
from torch import Tensor, zeros_like

from solo_adv.adversaries.ball import AUTO, Ball, LossOf
from solo_adv.adversaries.base import Adversary
from solo_adv.adversaries.batch_norm import check_policy
from solo_adv.support.checks import flag, number, whole


class Fast(Adversary):
    """A noisy start and a step about as long as the radius, as N-FGSM and RS-FGSM take them.

    The defaults are N-FGSM (de Jorge et al. 2022, https://arxiv.org/abs/2202.01181): noise of twice
    the radius, one step of the radius, and no projection onto the ball, so that a perturbation may
    leave it. Only pixels are kept in [0, 1]. ``noise=1 step=1.25 stay_in_ball=true`` is RS-FGSM
    (Wong et al. 2020, https://arxiv.org/abs/2001.03994).

    It is for training. Evaluations never use it, because a perturbation that leaves the ball would
    overstate an attack. :attr:`ball` contains all its perturbations, and is larger than epsilon if
    they may leave the ball.

    Args:
        epsilon: radius of the ball, as :meth:`Ball.length` takes it, such as ``"8/255"``.
        noise: radius of the uniform random start, in units of epsilon.
        step: length of each step, in units of epsilon.
        steps: number of steps.
        stay_in_ball: whether to project the start and every step onto the ball.
        norm: norm of the ball, a key of ``NORMS``.
        batch_norm: policy of batch norm during the attack's passes: ``train_frozen``, ``eval`` or
            ``train``.

    Raises:
        UserError: a setting is out of range.
    """

    ball: Ball

    def __init__(
        self,
        epsilon: float | str = AUTO,
        noise: float = 2.0,
        step: float = 1.0,
        steps: int = 1,
        *,
        stay_in_ball: bool = False,
        norm: str = "linf",
        batch_norm: str = "train_frozen",
    ) -> None:
        self._inner = inner = Ball(norm, epsilon)
        self.epsilon = inner.epsilon
        number("adversary.noise", noise)
        number("adversary.step", step, above_zero=True)
        whole("adversary.steps", steps, 1)
        flag("adversary.stay_in_ball", stay_in_ball)
        self.noise, self.steps = noise, steps
        self.step_size = step * inner.epsilon
        self.stay_in_ball = stay_in_ball
        self.batch_norm = check_policy(batch_norm)
        self.ball = inner if stay_in_ball else inner.scaled(max(1.0, noise + steps * step))

    @property
    def steps_now(self) -> int:
        return self.steps + self.extra_steps

    def perturb(
        self, crops: Tensor, loss_of: LossOf, generator: torch.Generator | None = None
    ) -> Tensor:
        """The perturbation (N, 3, H, W) after all steps, detached, within the pixel box.

        Args:
            crops: clean crops (N, 3, H, W), pixels in [0, 1].
            loss_of: the loss of perturbed crops, which the attack ascends.
            generator: draws the noise; None is torch's global generator.

        Raises:
            UserError: the crops are not float images with pixels in [0, 1].
        """
        self.check_pixels(crops)
        crops = crops.detach()
        delta = zeros_like(crops)
        if self.noise:
            strength = self.schedule.strength(self.progress)
            delta = self._inner.scaled(strength * self.noise).start(crops, generator)
            if self.stay_in_ball:
                delta = self.ball_now.project(delta, crops)
        return self.ascend(delta, crops, loss_of, self.steps_now)
