"""Top-1 and top-5 accuracy."""

import torch

from solo_adv.support.hits import accuracy, hits


def test_accuracy_counts_top_1_and_top_5():
    logits = torch.tensor([[6.0, 5, 4, 3, 2, 1, 0]] * 4)
    assert accuracy(logits, torch.tensor([0, 4, 5, 6])) == (0.25, 0.5)
    assert accuracy(logits[:, :2], torch.tensor([0, 1, 1, 1])) == (0.25, 1.0)


def test_hits_of_each_row():
    logits = torch.tensor([[6.0, 5, 4, 3, 2, 1, 0]] * 3)
    assert hits(logits, torch.tensor([0, 4, 5])).tolist() == [
        [True, True],
        [False, True],
        [False] * 2,
    ]
