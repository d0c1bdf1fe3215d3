"""Principal components, random convolutions and Inception: what they compute, how they are kept, and when they are refused."""

import hashlib
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from bench.contracts import DataError, Episode, MetricError, SampleSpec
from bench_builtin.feature_extractors import FEATURE_EXTRACTORS, Inception, Pca, RandomConv, inception, pca, random_conv, samples
from bench_builtin.feature_extractors.pca import fit


class Pictures:
    """Classes of images ``make(class number, rng) -> (*shape) in [-1, 1]``; no classes, but a continuum, where ``classes`` is None."""

    kind = "image"

    def __init__(self, make, shape, *, classes=24, train=None):
        self.sample_spec = SampleSpec("image", shape, -1.0, 1.0)
        self.make, self.classes, self.train = make, classes, classes if train is None else train

    def size(self, split):
        return self.train if split == "meta-train" else self.classes

    def episode(self, split, task, *, shots, query, rng):
        images = np.stack([self.make(task, rng) for _ in range(shots + query)]).astype(np.float32)
        return Episode(str(task), {"x": images[:shots]}, {"x": images[shots:]})

    def fingerprint(self):
        return ""


def noise_like(shape):
    return lambda task, rng: rng.uniform(-1, 1, shape)


def patterned(shape, signal):
    """Each class is an image of its own under noise."""

    def make(task, rng):
        return signal * np.random.default_rng(task).uniform(-1, 1, shape) + (1 - signal) * rng.uniform(-1, 1, shape)

    return make


NOISE = Pictures(noise_like((1, 4, 4)), (1, 4, 4))


def some(shape, n=9, seed=5):
    return np.random.default_rng(seed).uniform(-1, 1, (n, *shape)).astype(np.float32)


def distances(rows):
    return np.linalg.norm(rows[:, None] - rows, axis=2)


@pytest.fixture(scope="module", params=[{"name": "pca", "components": 3}, {"name": "random-conv"}], ids=lambda made: made["name"])
def made(request, tmp_path_factory):
    """A prepared extractor, another one like it that is not, and the folder where what they share is kept."""
    settings = {name: value for name, value in request.param.items() if name != "name"}
    make = FEATURE_EXTRACTORS[request.param["name"]]
    extractor, cache = make(**settings), tmp_path_factory.mktemp("cache")
    extractor.prepare(NOISE, cache)
    return extractor, make(**settings), cache


@pytest.fixture
def prepared(made):
    return made[0]


# ------------------------------------------------------------------ what all of them promise
def test_features_do_not_depend_on_the_batch(prepared):
    pictures = some((1, 4, 4), n=70)
    together = prepared.features(pictures)
    assert together.dtype == np.float64
    for part in (slice(0, 1), slice(60, 70), slice(3, 68)):
        assert np.array_equal(prepared.features(pictures[part]), together[part])
    assert prepared.features(pictures[:0]).shape == (0, together.shape[1])


def test_features_have_unit_spread_over_meta_train(prepared):
    drawn = samples.meta_train_samples(NOISE, 1024, of="this test")
    assert prepared.features(drawn).std(axis=0).mean() == pytest.approx(1, abs=0.05)


def test_what_was_made_once_is_what_all_use(made, tmp_path, monkeypatch):
    first, again, cache = made
    kept = sorted(path.name for path in cache.iterdir())
    assert [f"{first.name}-{first.fingerprint()[:16]}.safetensors" in kept, len(kept)] == [True, 2]
    with monkeypatch.context() as patched:
        for module in (pca, random_conv):
            patched.setattr(module, "one_shot_accuracy", None)  # nothing is made again
        again.prepare(NOISE, cache)
        with pytest.raises(TypeError):  # other data are nobody's
            again.prepare(Pictures(noise_like((1, 4, 4)), (1, 4, 4), classes=23), tmp_path)
    assert again.fingerprint() == first.fingerprint()
    assert again.certificate() == first.certificate()
    assert np.array_equal(again.features(some((1, 4, 4))), first.features(some((1, 4, 4))))


def test_a_damaged_artefact_is_refused(made, tmp_path):
    _, again, cache = made
    for path in cache.iterdir():
        tmp_path.joinpath(path.name).write_bytes(path.read_bytes() if path.suffix == ".json" else b"")
    with pytest.raises(MetricError, match="cannot be read"):
        again.prepare(NOISE, tmp_path)


def test_samples_of_another_shape_are_refused(prepared):
    with pytest.raises(MetricError, match=rf"{prepared.name} was prepared for samples of shape \(1, 4, 4\), got \(1, 5, 5\)"):
        prepared.features(some((1, 5, 5)))


def test_the_certificate_tells_signal_from_noise(tmp_path, monkeypatch):
    monkeypatch.setattr(random_conv, "ROUNDS", 5)
    for make in (lambda: Pca(components=8), RandomConv):
        told = {}
        for signal in (0.0, 0.9):
            extractor = make()
            extractor.prepare(Pictures(patterned((1, 6, 6), signal), (1, 6, 6)), tmp_path)
            told[signal] = extractor.certificate()
        assert told[0.0]["one_shot_accuracy"] == pytest.approx(1 / 20, abs=4 * told[0.0]["standard_error"])
        assert told[0.9]["one_shot_accuracy"] > 0.5


def test_without_held_out_classes_there_is_no_certificate_and_without_meta_train_no_extractor(tmp_path):
    for make in (Pca(components=2), RandomConv()):
        make.prepare(Pictures(noise_like((1, 4, 4)), (1, 4, 4), classes=None), tmp_path)
        assert make.certificate() == {}
        with pytest.raises(MetricError, match=f"{make.name} is made from meta-train samples, and meta-train has none"):
            make.prepare(Pictures(noise_like((1, 4, 4)), (1, 4, 4), train=0), tmp_path)


def test_what_is_not_prepared_has_no_name():
    for extractor in (Pca(), RandomConv(), Inception()):
        with pytest.raises(MetricError, match="call prepare"):
            extractor.fingerprint()


# ------------------------------------------------------------------ principal components
def test_all_components_together_keep_every_distance(tmp_path):
    extractor = Pca(components=16)
    extractor.prepare(NOISE, tmp_path)
    pictures = np.rint(some((1, 4, 4)) * 127.5 + 127.5)  # levels, so that rounding to 8 bits changes nothing
    found = distances(extractor.features((pictures / 127.5 - 1).astype(np.float32)))
    wanted = distances(pictures.reshape(len(pictures), -1))
    off = ~np.eye(len(found), dtype=bool)
    ratio = found[off] / wanted[off]
    assert np.ptp(ratio) / ratio.mean() < 1e-6  # one scale for all


def test_components_come_in_order_of_their_variance_and_are_not_whitened(tmp_path):
    spread = np.array([0.9, 0.45, 0.225, 0.0]).reshape(1, 2, 2)
    tasks, extractor = Pictures(lambda task, rng: spread * rng.uniform(-1, 1, (1, 2, 2)), (1, 2, 2)), Pca(components=3)
    extractor.prepare(tasks, tmp_path)
    for pixel in range(3):
        moved = np.zeros((2, 1, 2, 2), dtype=np.float32)
        moved[1].flat[pixel] = 1
        change = np.diff(extractor.features(moved), axis=0)[0]
        assert abs(change).argmax() == pixel
        assert change[pixel] > 0  # signs are fixed
    deviations = extractor.features(samples.meta_train_samples(tasks, 1024, of="this test")).std(axis=0)
    assert [first / second for first, second in pairwise(deviations)] == pytest.approx([2, 2], rel=0.1)


def test_more_components_than_numbers_are_refused(tmp_path):
    with pytest.raises(MetricError, match=r"17 components are asked for, but samples of shape \(1, 4, 4\) have 16 numbers; set components"):
        Pca(components=17).prepare(NOISE, tmp_path)


def test_what_changes_a_component_changes_the_fingerprint():
    basis = fit(NOISE, 2)
    assert basis.fingerprint() == fit(NOISE, 2).fingerprint()
    assert basis.fingerprint() != fit(NOISE, 3).fingerprint()
    assert (basis.axes.T @ basis.axes).numpy() == pytest.approx(np.eye(2), abs=1e-12)


# ------------------------------------------------------------------ random convolutions
def test_random_weights_are_those_of_their_seed(tmp_path, monkeypatch):
    monkeypatch.setattr(random_conv, "ROUNDS", 2)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    names = []
    for seed in (0, 0, 1):
        extractor = RandomConv(seed=seed)
        extractor.prepare(NOISE, tmp_path / str(len(names)))
        names.append(extractor.fingerprint())
    assert names[0] == names[1] != names[2]
    assert torch.equal(torch.get_rng_state(), before)


# ------------------------------------------------------------------ Inception
@pytest.fixture(scope="module")
def random_weights(tmp_path_factory):
    """A file of random weights in the published names, in which no layer is dead."""
    torch.manual_seed(0)
    network = inception.inception().to_empty(device="cpu")
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
        elif isinstance(layer, nn.BatchNorm2d | nn.Linear):
            layer.reset_parameters()
    path = tmp_path_factory.mktemp("weights") / inception.FILE
    torch.save(network.state_dict(), path)
    return path


@pytest.fixture
def accepted(random_weights, monkeypatch):
    """The same, taken for the published ones."""
    monkeypatch.setattr(inception, "SHA256", hashlib.sha256(random_weights.read_bytes()).hexdigest())
    return random_weights


def test_images_are_enlarged_as_tensorflow_did():
    # Output row i is read at i / 2 of two rows: 0, 1/2, 1, and 3/2, beyond which the last row is repeated.
    enlarged = inception.resize(torch.tensor([[0.0, 0.0], [8.0, 8.0]])[None, None], 4)[0, 0]
    assert enlarged.tolist() == [[0.0] * 4, [4.0] * 4, [8.0] * 4, [8.0] * 4]
    shrunk = inception.resize(torch.arange(6.0).reshape(1, 1, 6, 1).expand(-1, -1, -1, 6), 3)[0, 0]
    assert shrunk[:, 0].tolist() == [0.0, 2.0, 4.0]  # every second row and no average: the aliasing of the convention
    same = torch.rand(1, 3, 7, 7)
    assert torch.equal(inception.resize(same, 7), same)


def test_pooling_inside_blocks_counts_no_padding_and_the_last_block_pools_by_maximum(accepted):
    network = inception.network(accepted)
    for name, channels in (("Mixed_5b", 192), ("Mixed_6b", 768), ("Mixed_7b", 1280)):
        branch = getattr(network, name)._forward(torch.ones(1, channels, 5, 5))[-1]  # of ones: the mean without padding is 1 everywhere
        assert branch.std(dim=(2, 3)).max() < 1e-6 * branch.abs().max()
    peak = torch.zeros(1, 2048, 5, 5)
    peak[:, :, 2, 2] = 1
    pooled = network.Mixed_7c._forward(peak)[-1]
    assert pooled[0, :, 1:4, 1:4].std(dim=(1, 2)).max() < 1e-6 * pooled.abs().max()  # a maximum is the same all around its peak


def test_features_are_those_of_torch_fidelity(accepted):
    reference = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    theirs = reference.FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path=str(accepted))
    network = inception.network(accepted)
    for shape in ((3, 32, 32), (3, 320, 40)):
        levels = np.random.default_rng(0).integers(0, 256, (2, *shape), dtype=np.uint8)
        wanted = theirs(torch.from_numpy(levels))[0].numpy()
        seen = samples.Preprocessing(shape, 0.0, 255.0)
        assert inception.features(network, seen, levels.astype(np.float32)) == pytest.approx(wanted, rel=1e-4, abs=1e-4)


def test_inception_sees_grey_images_in_three_equal_channels(accepted, tmp_path):
    extractor = Inception(weights=str(accepted))
    extractor.prepare(Pictures(noise_like((1, 8, 8)), (1, 8, 8), classes=None), tmp_path)
    grey = some((1, 8, 8), n=2)
    found = extractor.features(grey)
    assert found.shape == (2, 2048)
    colour = Inception(weights=str(accepted))
    colour.prepare(Pictures(noise_like((3, 8, 8)), (3, 8, 8), classes=None), tmp_path)
    assert colour.features(grey.repeat(3, axis=1)) == pytest.approx(found, rel=1e-5)
    assert colour.fingerprint() != extractor.fingerprint()
    assert extractor.certificate() == {}


def test_images_of_two_channels_are_refused(accepted, tmp_path):
    with pytest.raises(MetricError, match="1 or 3 channels"):
        Inception(weights=str(accepted)).prepare(Pictures(noise_like((2, 8, 8)), (2, 8, 8)), tmp_path)


def test_missing_or_foreign_weights_are_refused_with_what_to_put_where(random_weights, tmp_path):
    missing = tmp_path / "nowhere.pth"
    with pytest.raises(
        DataError, match=r"weights \(nowhere\.pth\) are not there \(No such file.*download https://github.com/toshas/.*weights:"
    ):
        Inception(weights=str(missing)).prepare(NOISE, tmp_path)
    with pytest.raises(DataError, match=r"has SHA-256 .*, the weights of the FID convention have 6726825d0af5f729"):
        Inception(weights=str(random_weights)).prepare(NOISE, tmp_path)
