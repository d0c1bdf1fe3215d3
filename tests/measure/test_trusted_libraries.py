"""The same numbers as torch-fidelity and torchmetrics, where those are installed (``pip install "metagan-bench[test]"``)."""

import numpy as np
import pytest
import torch

from bench.measure import frechet_distance, inception_score, kid, precision_recall

metric_fid = pytest.importorskip("torch_fidelity.metric_fid")
metric_isc = pytest.importorskip("torch_fidelity.metric_isc")
metric_kid = pytest.importorskip("torch_fidelity.metric_kid")
metric_prc = pytest.importorskip("torch_fidelity.metric_prc")
torchmetrics_fid = pytest.importorskip("torchmetrics.image.fid")
torchmetrics_kid = pytest.importorskip("torchmetrics.image.kid")

QUIET = {"verbose": False}


def pair(n=60, features=8, seed=0):
    rng = np.random.default_rng(seed)
    return 0.4 + rng.normal(size=(n, features)), 1.5 * rng.normal(size=(n, features)) @ rng.normal(size=(features, features))


def tensors(*sets):
    return tuple(torch.from_numpy(samples) for samples in sets)


# A rank-deficient product of covariances costs the peers half of their digits; ours is the exact one (60 digits, test_frechet.py).
@pytest.mark.parametrize(("n", "features", "tolerance"), [(60, 8, 1e-10), (10, 32, 1e-5)])
def test_frechet_distance(n, features, tolerance):
    fake, real = pair(n, features)
    statistics = [metric_fid.fid_features_to_statistics(samples) for samples in tensors(fake, real)]
    theirs = metric_fid.fid_statistics_to_metric(*statistics, verbose=False)[metric_fid.KEY_METRIC_FID]
    ours = frechet_distance(fake[None], real[None])[0]
    assert ours == pytest.approx(theirs, rel=tolerance)
    means, covariances = zip(*(tensors(one["mu"], one["sigma"]) for one in statistics), strict=True)
    also = torchmetrics_fid._compute_fid(means[0], covariances[0], means[1], covariances[1])
    assert ours == pytest.approx(float(also), rel=tolerance)


def test_kid():
    fake, real = pair()
    theirs = metric_kid.kid_features_to_metric(*tensors(fake, real), kid_subsets=1, kid_subset_size=len(fake), **QUIET)
    ours = kid(fake[None], real[None])[0]
    assert ours == pytest.approx(theirs[metric_kid.KEY_METRIC_KID_MEAN], rel=1e-10)
    assert ours == pytest.approx(float(torchmetrics_kid.poly_mmd(*tensors(real, fake))), rel=1e-10)


def test_precision_and_recall():
    fake, real = pair(40, 3)
    theirs = metric_prc.prc_features_to_metric(*tensors(fake, real), prc_neighborhood=3, prc_batch_size=100, save_cpu_ram=False, **QUIET)
    ours = precision_recall(fake[None], real[None], most=3)
    assert 0 < ours.recall[0] < ours.precision[0] < 1  # neither trivial nor mistaken for each other
    assert ours.precision[0] == pytest.approx(theirs[metric_prc.KEY_METRIC_PRECISION])
    assert ours.recall[0] == pytest.approx(theirs[metric_prc.KEY_METRIC_RECALL])


def test_inception_score():
    logits = 3 * np.random.default_rng(1).normal(size=(50, 7))
    theirs = metric_isc.isc_features_to_metric(torch.from_numpy(logits), splits=1)
    assert inception_score(logits) == pytest.approx(theirs[metric_isc.KEY_METRIC_ISC_MEAN], rel=1e-12)
