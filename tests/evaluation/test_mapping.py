"""Maps of features: what is mapped, by which attack, and what is refused."""

import pytest
import torch

from solo_adv.adversaries import PGD
from solo_adv.evaluation import mapping
from solo_adv.evaluation.heads.features import extract
from solo_adv.evaluation.images import select
from solo_adv.support.errors import UserError

ATTACK = PGD("8/255", "2/255", 5, True, batch_norm="eval")


def map_of(encoder, images, **changes):
    usual = {
        **{"kind": "tsne", "adversary": ATTACK, "max_images": 40, "batch_size": 16},
        **{"device": "cpu", "seed": 3},
    }
    return mapping.map_features(encoder, images, **{**usual, **changes})


@pytest.fixture
def encoder(pattern_net):
    return pattern_net(updates=5).encoder


def test_features_are_the_encoders_and_the_attack_moves_them(encoder, pattern_set, monkeypatch):
    images, seen = pattern_set(60), []

    def reduced(features, seed):
        seen.append((features, seed))
        return features[:, :2]

    monkeypatch.setattr(mapping, "_tsne", reduced)
    found = map_of(encoder, images)
    ((features, seed),) = seen
    expected, labels = extract(encoder.eval(), select(images, 40, 3), 16, "cpu")
    torch.testing.assert_close(features[:40], expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(found.labels, labels)
    assert seed == 3
    assert torch.equal(found.attacked, features[40:, :2])
    moved = (features[40:] - features[:40]).norm(dim=1)
    noise = (torch.rand(40, 3, *images[0][0].shape[1:]) * 2 - 1) * 8 / 255
    pixels = torch.stack([image for image, _ in select(images, 40, 3)]).float()
    pixels = pixels / 255 if pixels.max() > 1 else pixels
    with torch.no_grad():
        by_noise = (encoder((pixels + noise).clamp(0, 1)) - features[:40]).norm(dim=1)
    assert moved.median() > 2 * by_noise.median()


def test_the_same_seed_makes_the_same_map(encoder, pattern_set):
    one, same, other = (map_of(encoder, pattern_set(60), seed=seed) for seed in (3, 3, 4))
    assert torch.equal(one.clean, same.clean)
    assert torch.equal(one.attacked, same.attacked)
    assert not torch.equal(one.clean, other.clean)
    assert one.clean.shape == one.attacked.shape == (40, 2)


def test_without_an_attack(encoder, pattern_set):
    found = map_of(encoder, pattern_set(60), adversary=None, max_images=None)
    assert found.attacked is None
    assert len(found.clean) == 60


def test_umap_is_used_or_asked_for(encoder, pattern_set, monkeypatch):
    monkeypatch.setattr(mapping, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'solo-adv\[umap\]'"):
        map_of(encoder, pattern_set(60), kind="umap")
    monkeypatch.undo()
    pytest.importorskip("umap", reason="umap-learn is not installed: pip install 'solo-adv[umap]'")
    assert map_of(encoder, pattern_set(60), kind="umap").clean.shape == (40, 2)


def test_too_few_images(encoder, pattern_set):
    with pytest.raises(UserError, match="at least 10 images; got 5"):
        map_of(encoder, pattern_set(60), max_images=5)
