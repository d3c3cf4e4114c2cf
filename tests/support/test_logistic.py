"""The converged logistic regression against scikit-learn's."""

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from solo_adv.support.logistic import fit_logistic

PENALTY = 1e-2


def data(seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 4, (300,), generator=generator)
    centres = torch.randn(4, 7, dtype=torch.float64, generator=generator)
    noise = torch.randn(300, 7, dtype=torch.float64, generator=generator)
    return 5 + (centres[labels] + noise) * torch.arange(1, 8), labels


def test_it_finds_the_optimum_that_scikit_learn_finds():
    features, labels = data()
    head, steepest = fit_logistic(features, labels, 4, penalty=PENALTY, tolerance=1e-7)
    assert steepest <= 1e-7
    x = ((features - features.mean(0)) / features.std(0, correction=0)).numpy()
    theirs = LogisticRegression(C=1 / (PENALTY * len(x)), tol=1e-10, max_iter=10_000)
    theirs.fit(x, labels.numpy())
    ours = head(features).softmax(1).numpy()
    np.testing.assert_allclose(ours, theirs.predict_proba(x), atol=1e-6)


def test_it_does_not_depend_on_the_scale_of_the_features():
    features, labels = data()
    one, _ = fit_logistic(features, labels, 4, tolerance=1e-7)
    other, _ = fit_logistic(1000 * features - 3, labels, 4, tolerance=1e-7)
    torch.testing.assert_close(one(features), other(1000 * features - 3), rtol=1e-5, atol=1e-5)


def test_constant_features_get_no_weight():
    features, labels = data()
    features[:, 2] = 7.0
    head, _ = fit_logistic(features, labels, 4)
    assert head.weight[:, 2].abs().max() == 0
    assert head.weight.isfinite().all()


def test_an_unfinished_fit_says_so():
    features, labels = data()
    assert fit_logistic(features, labels, 4, iterations=2)[1] > 1e-5
