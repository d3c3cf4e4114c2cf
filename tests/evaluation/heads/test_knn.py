import pytest
import torch
import torch.nn.functional as F

from solo_adv.evaluation import knn_accuracy
from solo_adv.support.errors import UserError

GENERATOR = torch.Generator().manual_seed(0)
CENTRES = torch.randn(8, 6, generator=GENERATOR)
TRAIN_LABELS = torch.randint(8, (60,), generator=GENERATOR)
TEST_LABELS = torch.randint(8, (40,), generator=GENERATOR)
TRAIN = CENTRES[TRAIN_LABELS] + 1.2 * torch.randn(60, 6, generator=GENERATOR)
TEST = CENTRES[TEST_LABELS] + 1.2 * torch.randn(40, 6, generator=GENERATOR)
DATA = (TRAIN, TRAIN_LABELS, TEST, TEST_LABELS)


def brute_force(k, temperature, distance):
    train, train_labels, test, test_labels = DATA
    hits1 = hits5 = 0
    for feature, label in zip(test.double(), test_labels.tolist(), strict=True):
        if distance == "cosine":
            closeness = [F.cosine_similarity(feature, t, dim=0).item() for t in train.double()]
            weights = [torch.tensor(c / temperature).exp().item() for c in closeness]
        else:
            closeness = [-(feature - t).norm().item() for t in train.double()]
            weights = [1 / (-c + 1e-5) for c in closeness]
        votes = {}
        for index in sorted(range(len(train)), key=lambda i: -closeness[i])[:k]:
            name = train_labels[index].item()
            votes[name] = votes.get(name, 0) + weights[index]
        ranked = sorted(votes, key=lambda name: -votes[name])
        hits1 += label == ranked[0]
        hits5 += label in ranked[:5]
    return hits1 / len(test), hits5 / len(test)


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
@pytest.mark.parametrize(("k", "temperature"), [(1, 0.07), (5, 0.07), (20, 0.5), (60, 0.07)])
def test_agrees_with_brute_force(k, temperature, distance):
    expected = brute_force(k, temperature, distance)
    found = knn_accuracy(*DATA, k=k, temperature=temperature, distance=distance)
    assert found == pytest.approx(expected)
    assert 0.2 < found[0] <= found[1]


def test_chunks_make_no_difference(monkeypatch):
    whole = knn_accuracy(*DATA)
    monkeypatch.setattr("solo_adv.evaluation.heads.knn.MAX_CHUNK_ENTRIES", 7 * len(TRAIN))
    assert knn_accuracy(*DATA) == whole


def test_unlabelled_features_take_no_part():
    train = torch.cat([TEST, TRAIN])  # the test features must not become neighbours
    labels = torch.cat([torch.full((40,), -1), TRAIN_LABELS])
    test_labels = torch.cat([TEST_LABELS, torch.tensor([-1])])
    found = knn_accuracy(train, labels, torch.cat([TEST, TEST[:1]]), test_labels)
    assert found == knn_accuracy(*DATA)


def test_k_is_capped_at_the_number_of_labelled_training_features():
    assert knn_accuracy(*DATA, k=10_000) == knn_accuracy(*DATA, k=60)


def test_low_temperature_does_not_overflow():
    # All votes but that of the nearest neighbour vanish.
    assert knn_accuracy(*DATA, temperature=1e-5)[0] == knn_accuracy(*DATA, k=1)[0]


def test_a_class_without_votes_is_no_prediction():
    train, labels = torch.eye(2), torch.tensor([0, 0])
    assert knn_accuracy(train, labels, torch.eye(2), torch.tensor([0, 1])) == (0.5, 0.5)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"k": 0}, "knn_k must be a whole number of at least 1"),
        ({"temperature": 0}, "knn_temperature must be a number above 0"),
        ({"distance": "cosin"}, "Did you mean 'cosine'"),
    ],
)
def test_bad_settings(setting, message):
    with pytest.raises(UserError, match=message):
        knn_accuracy(*DATA, **setting)


def test_needs_labels():
    with pytest.raises(UserError, match="no training image"):
        knn_accuracy(TRAIN, torch.full((60,), -1), TEST, TEST_LABELS)
