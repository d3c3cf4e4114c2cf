"""Our step and the naive one give the same losses and weights in 20 steps in float64."""

import pytest
import torch
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.naive import NaiveStep
from solo_adv.host import METHODS
from solo_adv.reproduce.plan import composed
from solo_adv.training.config import parse_cfg

VIEWS, BATCH, SIZE, STEPS = 3, 4, 16, 20
SMALL = [
    *("data=cifar10", f"crops.num_crops={VIEWS}", f"crops.size={SIZE}", "crops=multi_crop"),
    *("+backbone.kwargs.width=4", "+backbone.kwargs.layers=[1,1,1,1]", "precision=64-true"),
    *("method_kwargs.proj_hidden_dim=16", "method_kwargs.proj_output_dim=8", "max_epochs=1"),
    *(f"optimizer.batch_size={BATCH}", "optimizer.lr=19.2", "scheduler.name=none"),
    "knn_eval.enabled=false",
]


@pytest.mark.parametrize(
    "name", ["emp_ssl", pytest.param("robust_emp", marks=pytest.mark.slow), "cfamc"]
)
def test_losses_and_weights_are_the_naive_ones(name):
    def build():
        torch.manual_seed(0)
        cfg = parse_cfg(composed(name, SMALL))
        cfg.data.num_classes = 10
        return METHODS[name](cfg).double()

    ours, theirs = build(), build().train()
    assert ours.cfg.optimizer.lr == pytest.approx(0.3)  # the learning rate of the naive step
    drawn = torch.rand(STEPS, VIEWS * BATCH, 3, SIZE, SIZE, dtype=torch.float64)
    left = iter(drawn)
    ours.crops = lambda images: next(left)
    losses = []
    watch = ours._watch
    ours._watch = lambda loss: (losses.append(loss.item()), watch(loss))

    trainer = Trainer(
        accelerator="cpu",
        precision="64-true",
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    count = STEPS * BATCH
    data = TensorDataset(
        torch.arange(count), torch.zeros(count, 3, 1, 1), torch.zeros(count).long()
    )
    trainer.fit(ours, DataLoader(data, batch_size=BATCH))

    step = NaiveStep(
        lambda pixels: theirs.projector(theirs.backbone(pixels))[1],
        [*theirs.backbone.parameters(), *theirs.projector.parameters()],
        views=VIEWS,
        replays=ours.adversary.replays,
        steps=ours.adversary.crafting_passes,
    )
    naive = [step(crops).item() for crops in drawn]
    assert losses[ours.adversary.replays - 1 :: ours.adversary.replays] == pytest.approx(naive)
    expected = dict(theirs.named_parameters())
    for key, weight in ours.named_parameters():
        if not key.startswith("classifier"):
            torch.testing.assert_close(weight, expected[key], rtol=1e-6, atol=1e-9, msg=key)
    moved = ours.backbone.conv1.weight - build().backbone.conv1.weight
    assert moved.abs().max() > 0.01
