"""Projected gradient descent: several small steps up the loss before each update of the weights."""

import torch
from torch import Tensor

from solo_adv.adversaries.ball import AUTO, Ball, LossOf
from solo_adv.adversaries.base import Adversary
from solo_adv.adversaries.batch_norm import check_policy
from solo_adv.support.checks import flag, whole


class PGD(Adversary):
    """PGD on pixels (Madry et al. 2017, https://arxiv.org/abs/1706.06083).

    It asks autograd for the gradient of the *input only*: parameter gradients are neither computed
    nor accumulated, and a step costs about two thirds of a training pass. (The reference code
    calls ``backward`` on the whole graph five times and then updates with the sum.)

    Args:
        epsilon: radius of the ball, as :meth:`Ball.length` takes it, such as ``"8/255"``.
        step_size: length of each step, as :meth:`Ball.length` takes it.
        steps: number of steps.
        random_start: whether to start uniformly in the ball instead of at zero.
        norm: norm of the ball, a key of ``NORMS``.
        batch_norm: policy of batch norm during the attack's passes: ``train_frozen``, ``eval`` or
            ``train``.
        accumulate_gradients: whether every attack pass adds to the parameters' gradients, so that
            the next update uses their sum. The reference code does this; the paper does not
            describe it.

    Raises:
        UserError: a setting is out of range.
    """

    ball: Ball

    def __init__(
        self,
        epsilon: float | str = AUTO,
        step_size: float | str = AUTO,
        steps: int = 5,
        random_start: bool = False,
        *,
        norm: str = "linf",
        batch_norm: str = "train_frozen",
        accumulate_gradients: bool = False,
    ) -> None:
        self.ball = Ball(norm, epsilon)
        self.epsilon = self.ball.epsilon
        self.step_size = self.ball.length("step_size", step_size)
        whole("steps", steps, 1)
        self.steps = steps
        flag("random_start", random_start)
        self.random_start = random_start
        self.batch_norm = check_policy(batch_norm)
        flag("accumulate_gradients", accumulate_gradients)
        self.accumulate_gradients = accumulate_gradients

    @property
    def steps_now(self) -> int:
        return self.steps + self.extra_steps

    def perturb(
        self, crops: Tensor, loss_of: LossOf, generator: torch.Generator | None = None
    ) -> Tensor:
        """The perturbation (N, 3, H, W) after all steps, detached, in the ball and the pixel box.

        Args:
            crops: clean crops (N, 3, H, W), pixels in [0, 1].
            loss_of: the loss of perturbed crops, which the attack ascends.
            generator: draws the random start; None is torch's global generator.

        Raises:
            UserError: the crops are not float images with pixels in [0, 1].
        """
        self.check_pixels(crops)
        crops = crops.detach()
        random = self.random_start
        delta = self.ball_now.start(crops, generator) if random else torch.zeros_like(crops)
        return self.ascend(delta, crops, loss_of, self.steps_now)
