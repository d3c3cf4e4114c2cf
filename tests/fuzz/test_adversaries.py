"""No settings make an adversary leave the ball or the box, or return NaN."""

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from solo_adv.adversaries import NORMS, PGD, Free
from solo_adv.support.errors import UserError
from tests.adversaries.threat_model import assert_admitted

LENGTHS = st.one_of(
    st.floats(0, 1), st.floats(-1, 3), st.sampled_from(["8/255", "1/0", "x", "auto", 0, 1, 1e9])
)
GRADIENTS = {
    "plain": lambda x: (x * torch.linspace(-1, 1, x.numel()).view_as(x)).sum(),
    "flat": lambda x: (x * 0).sum(),
    "steep": lambda x: (x * 1e30).sum(),
    "broken": lambda x: (x * math.nan).sum(),
}


@given(
    kind=st.sampled_from([PGD, Free]),
    norm=st.sampled_from(sorted(NORMS)),
    lengths=st.tuples(LENGTHS, LENGTHS),
    repeats=st.integers(0, 4),
    loss=st.sampled_from(sorted(GRADIENTS)),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    extreme=st.booleans(),
    seed=st.integers(0, 100),
)
def test_adversaries(outcomes, kind, norm, lengths, repeats, loss, dtype, extreme, seed):
    generator = torch.Generator().manual_seed(seed)
    crops = torch.rand(2, 3, 4, 4, dtype=dtype, generator=generator)
    crops = crops.round() if extreme else crops
    repeated = {"steps": repeats} if kind is PGD else {"replays": repeats}
    try:
        adversary = kind(epsilon=lengths[0], step_size=lengths[1], norm=norm, **repeated)
    except UserError:
        outcomes["adversaries: refused"] += 1
        return
    for _ in range(max(2, adversary.replays)):
        delta = adversary.perturb(crops, GRADIENTS[loss])
        if delta is None:
            continue
        if delta.requires_grad:
            GRADIENTS[loss](crops + delta).backward()
        held = delta.detach()
        assert_admitted(norm, adversary.epsilon, crops, held)
        adversary.update(crops, delta)
    outcomes["adversaries: run"] += 1
