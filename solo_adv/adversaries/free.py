"""Free adversarial training: the backward pass that trains the weights also perturbs the images."""

from typing import Any

from torch import Tensor, zeros_like

from solo_adv.adversaries.ball import AUTO, Ball, LossOf
from solo_adv.adversaries.base import Adversary
from solo_adv.support.checks import flag, whole


class Free(Adversary):
    """Free adversarial training (Shafahi et al. 2019, https://arxiv.org/abs/1904.12843).

    Each batch is replayed ``replays`` times. Every replay updates the weights and, from the same
    backward pass, the perturbation. The next batch starts with the perturbation of the last one:
    the crop in each place of the batch takes over the perturbation of that place (paper,
    Algorithm 1). The perturbation belongs to the state of the run and is saved in every checkpoint.

    Args:
        epsilon: radius of the ball, as :meth:`Ball.length` takes it, such as ``"8/255"``.
        step_size: length of each step, as :meth:`Ball.length` takes it. Algorithm 1 steps by
            epsilon. The reference code steps by 0.01, which is the default with ``linf``.
        replays: m, the number of optimizer steps on each batch.
        norm: norm of the ball, a key of ``NORMS``.
        clamp_before_forward: whether to project the carried perturbation into the pixel box of the
            new batch before its first pass. The reference code does not, so that about 2 % of
            pixels leave [0, 1].

    Raises:
        UserError: a setting is out of range.
    """

    ball: Ball

    def __init__(
        self,
        epsilon: float | str = AUTO,
        step_size: float | str = AUTO,
        replays: int = 3,
        *,
        norm: str = "linf",
        clamp_before_forward: bool = True,
    ) -> None:
        self.ball = Ball(norm, epsilon)
        self.epsilon = self.ball.epsilon
        self.step_size = self.ball.length("step_size", step_size)
        whole("replays", replays, 1)
        self.replays = replays
        flag("clamp_before_forward", clamp_before_forward)
        self.clamp_before_forward = clamp_before_forward
        self.delta: Tensor | None = None

    def perturb(self, crops: Tensor, loss_of: LossOf) -> Tensor:
        """The carried perturbation (N, 3, H, W), as a leaf that requires a gradient.

        Raises:
            UserError: the crops are not float images with pixels in [0, 1].
        """
        self.check_pixels(crops)
        if self.delta is None or self.delta.shape != crops.shape:
            self.delta = zeros_like(crops)
        delta = self.delta.detach().to(crops.device)
        if self.clamp_before_forward:
            delta = self.ball_now.project(delta, crops)
        delta = self.ascend(delta, crops, loss_of, self.steps_now)
        return delta.detach().requires_grad_(True)

    def update(self, crops: Tensor, delta: Tensor | None) -> None:
        assert delta is not None
        assert delta.grad is not None
        self.delta = self.stepped(delta, delta.grad, crops)

    def state_dict(self) -> dict[str, Any]:
        return {"delta": self.delta}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.delta = state["delta"]
