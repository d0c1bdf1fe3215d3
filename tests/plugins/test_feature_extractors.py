"""Feature extractors: frozen, named by content, and refused where they cannot tell classes apart."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.contracts import Episode, MetricError, SampleSpec
from bench_builtin.feature_extractors import FEATURE_EXTRACTORS, Identity, Pixels, ProtoNetConv4, conv4, protonet
from bench_builtin.task_distributions import Digits, Glyphs, Sinusoids


class Patterns:
    """24 classes in each split, each a fixed random image under noise; with ``signal`` 0 nothing but noise."""

    kind = "image"

    def __init__(self, signal, shape=(1, 8, 8), classes=24):
        self.sample_spec = SampleSpec("image", shape, -1.0, 1.0)
        self.signal, self.classes = signal, classes

    def size(self, split):
        return self.classes

    def episode(self, split, task, *, shots, query, rng):
        pattern = np.random.default_rng([task, len(split)]).uniform(-1, 1, self.sample_spec.shape)
        noise = rng.uniform(-1, 1, (shots + query, *self.sample_spec.shape))
        images = (self.signal * pattern + (1 - self.signal) * noise).astype(np.float32)
        return Episode(str(task), {"x": images[:shots]}, {"x": images[shots:]})

    def fingerprint(self):
        return ""


@pytest.fixture(scope="module", params=[16, 28])
def shipped(request, tmp_path_factory):
    """An extractor with shipped weights; its cache stays empty."""
    cache = tmp_path_factory.mktemp("cache")
    extractor = ProtoNetConv4()
    extractor.prepare(Glyphs(size=request.param), cache)
    assert not list(cache.iterdir())
    return extractor, Glyphs(size=request.param)


def noise(n, shape, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (n, *shape)).astype(np.float32)


# ------------------------------------------------------------------ flat features
@pytest.mark.parametrize(("make", "shape"), [(Identity, (2,)), (Identity, (1, 32)), (Pixels, (1, 4, 4))])
def test_flat_features_are_the_samples(make, shape, tmp_path):
    extractor = make()
    extractor.prepare(None, tmp_path)
    samples = noise(5, shape)
    assert extractor.features(samples).dtype == np.float64
    assert np.array_equal(extractor.features(samples), samples.reshape(5, -1).astype(np.float64))
    assert extractor.features(samples[:0]).shape == (0, np.prod(shape))
    assert extractor.certificate() == {}
    assert extractor.fingerprint() == make().fingerprint()


def test_every_kind_of_sample_has_an_extractor():
    assert {kind for make in FEATURE_EXTRACTORS.values() for kind in make.kinds} == {"image", "points", "signal", "regression"}


# ------------------------------------------------------------------ shipped weights
def test_a_shipped_extractor_is_the_one_its_record_names(shipped, tmp_path):
    extractor, tasks = shipped
    record = json.loads(next(protonet.SHIPPED.glob(f"*-glyphs-{tasks.side}.json")).read_text())
    again = ProtoNetConv4()
    again.prepare(Glyphs(size=tasks.side, jitter=0.5), tmp_path)
    assert extractor.fingerprint() == again.fingerprint() == record["fingerprint"]
    samples = noise(3, tasks.sample_spec.shape)
    assert np.array_equal(extractor.features(samples), again.features(samples))


def test_a_shipped_extractor_earns_its_certificate_again(shipped):
    extractor, tasks = shipped
    stated = extractor.certificate()
    rounds = 60 if tasks.side == 16 else 20
    measured = conv4.certify(conv4.load(protonet.shipped(tasks)), tasks, rounds=rounds)
    assert stated["ways"] == measured["ways"] == 20
    assert stated["one_shot_accuracy"] >= 0.55
    # All rounds are the certificate's own, so only the last bits of the machine differ; fewer rounds add sampling error.
    tolerance = 0.01 if rounds == stated["rounds"] else 4 * measured["standard_error"]
    assert measured["one_shot_accuracy"] == pytest.approx(stated["one_shot_accuracy"], abs=tolerance)


def test_a_shipped_extractor_beats_pixels_on_held_out_characters(shipped):
    extractor, tasks = shipped
    rng, right = np.random.default_rng(3), {"extractor": [], "pixels": []}
    for _ in range(15):
        support, query = conv4.draw(tasks, "meta-test", rng.choice(179, 20, replace=False), shots=1, query=3, rng=rng)
        for name, maps in (("extractor", extractor), ("pixels", Pixels())):
            known, asked = (maps.features(part.reshape(-1, *tasks.sample_spec.shape)) for part in (support, query))
            nearest = np.square(asked[:, None] - known).sum(axis=2).argmin(axis=1)
            right[name].append(np.mean(nearest == np.arange(20).repeat(3)))
    assert np.mean(right["extractor"]) > np.mean(right["pixels"]) + 0.15


def test_the_weights_for_glyphs_measure_other_data_of_that_size_with_a_certificate_of_their_own(tmp_path):
    ruler, own, ten = ProtoNetConv4(weights="glyphs"), ProtoNetConv4(), Digits(size=16, meta_test="all")
    own.prepare(Glyphs(size=16), tmp_path)
    ruler.prepare(ten, tmp_path)
    assert ruler.fingerprint() == own.fingerprint()
    assert (ruler.certificate()["split"], ruler.certificate()["ways"]) == ("meta-test", 10)
    assert ruler.certificate()["one_shot_accuracy"] > 0.5  # ten ways: chance is 0.1
    ruler.prepare(Glyphs(size=16), tmp_path)
    assert ruler.certificate() == own.certificate()
    assert not list(tmp_path.iterdir())


def test_data_without_classes_to_train_on_need_weights_from_elsewhere(tmp_path):
    with pytest.raises(MetricError, match="meta-train has 0 classes"):
        ProtoNetConv4().prepare(Digits(size=16, meta_test="all"), tmp_path)
    with pytest.raises(
        MetricError, match=r"glyphs of 1x16x16, 1x28x28 in \[-1, 1\], none for samples of 1x8x8 in \[-1, 1\]; choose such a size"
    ):
        ProtoNetConv4(weights="glyphs").prepare(Digits(), tmp_path)


def test_features_do_not_depend_on_the_batch(shipped):
    extractor, tasks = shipped
    samples = noise(150, tasks.sample_spec.shape)
    together = extractor.features(samples)
    assert together.shape == (150, 64)
    assert together.dtype == np.float64
    for part in (slice(0, 1), slice(60, 70), slice(149, 150), slice(10, 140)):
        assert np.array_equal(extractor.features(samples[part]), together[part])
    assert extractor.features(samples[:0]).shape == (0, 64)


def test_features_have_unit_spread_over_meta_train(shipped):
    extractor, tasks = shipped
    rng = np.random.default_rng(5)
    images, _ = conv4.draw(tasks, "meta-train", rng.choice(613, 150, replace=False), shots=2, query=0, rng=rng)
    assert extractor.features(images.reshape(-1, *tasks.sample_spec.shape)).std(axis=0).mean() == pytest.approx(1, abs=0.1)


def test_samples_are_clipped_and_rounded_to_eight_bits(shipped):
    extractor, tasks = shipped
    samples = noise(4, tasks.sample_spec.shape) * 2
    levels = np.rint((np.clip(samples, -1, 1).astype(np.float64) + 1) * 127.5) / 127.5 - 1
    assert np.array_equal(extractor.features(samples), extractor.features(levels))


def test_a_sample_that_is_not_a_number_spoils_only_itself(shipped):
    extractor, tasks = shipped
    samples = noise(3, tasks.sample_spec.shape)
    clean = extractor.features(samples)
    samples[1, 0, 5, 5] = np.nan
    spoilt = extractor.features(samples)
    assert np.isnan(spoilt[1]).any()
    assert np.array_equal(spoilt[[0, 2]], clean[[0, 2]])


def test_samples_of_another_shape_are_refused(shipped):
    with pytest.raises(MetricError, match="prepared for samples of shape"):
        shipped[0].features(noise(2, (1, 20, 20)))


@pytest.mark.parametrize("change", ["weight", "scale", "range"])
def test_whatever_changes_a_feature_changes_the_fingerprint(change):
    embedding = conv4.load(protonet.shipped(Glyphs()))
    state, preprocessing, scale = dict(embedding.state), embedding.preprocessing, embedding.scale
    if change == "weight":
        state["12.bias"] = state["12.bias"].clone()
        state["12.bias"][3] += 1e-6
    elif change == "scale":
        scale *= 1 + 1e-12
    else:
        preprocessing = conv4.Preprocessing(preprocessing.shape, 0.0, 1.0)
    assert conv4.Embedding(state, preprocessing, scale).fingerprint() != embedding.fingerprint()
    assert (
        conv4.Embedding(dict(reversed(state.items())), preprocessing, scale).fingerprint()
        == conv4.Embedding(state, preprocessing, scale).fingerprint()
    )


# ------------------------------------------------------------------ training and cache
def test_training_is_reproducible_and_leaves_global_state_alone():
    torch.manual_seed(7)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    first = conv4.train(Patterns(0.6), episodes=3)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads
    torch.manual_seed(8)
    assert conv4.train(Patterns(0.6), episodes=3).fingerprint() == first.fingerprint()
    assert conv4.train(Patterns(0.6), episodes=4).fingerprint() != first.fingerprint()


def test_training_happens_once_per_data_set(tmp_path, monkeypatch):
    first = ProtoNetConv4(episodes=2)
    first.prepare(Patterns(0.7), tmp_path)
    monkeypatch.setattr(conv4, "train", None)
    again = ProtoNetConv4(episodes=2)
    again.prepare(Patterns(0.7), tmp_path)
    samples = noise(5, (1, 8, 8))
    assert again.fingerprint() == first.fingerprint()
    assert np.array_equal(again.features(samples), first.features(samples))
    assert again.certificate() == first.certificate()
    with pytest.raises(TypeError):  # other data, other hyperparameters of the data, other training: nothing is cached
        ProtoNetConv4(episodes=2).prepare(Patterns(0.71), tmp_path)
    assert protonet.recipe(Patterns(0.7), 2) != protonet.recipe(Patterns(0.7), 3)


def test_an_extractor_that_cannot_tell_classes_apart_is_refused(tmp_path):
    with pytest.raises(MetricError, match="20-way one-shot questions, 0.40 are required"):
        ProtoNetConv4(episodes=1).prepare(Patterns(0.0), tmp_path)
    forced = ProtoNetConv4(episodes=1, force=True)
    forced.prepare(Patterns(0.0), tmp_path)
    certificate = forced.certificate()
    assert certificate["one_shot_accuracy"] == pytest.approx(1 / 20, abs=5 * certificate["standard_error"])


def test_fewer_ways_need_a_higher_accuracy():
    assert conv4.required_accuracy(20) == pytest.approx(0.4)
    assert conv4.required_accuracy(2) == pytest.approx(0.5 + 0.5 * 0.35 / 0.95)
    required = [conv4.required_accuracy(ways) for ways in range(2, 21)]
    assert required == sorted(required, reverse=True)


def test_images_of_any_shape_are_embedded(tmp_path):
    for shape in ((3, 8, 12), (1, 5, 5), (2, 33, 33)):
        extractor = ProtoNetConv4(episodes=1, force=True)
        extractor.prepare(Patterns(0.9, shape, classes=3), tmp_path)
        assert extractor.features(noise(2, shape)).shape == (2, 64)
        assert extractor.certificate()["ways"] == 3


def test_tasks_without_classes_are_refused(tmp_path):
    with pytest.raises(MetricError, match="meta-train has no classes"):
        ProtoNetConv4().prepare(Sinusoids(), tmp_path)
    with pytest.raises(MetricError, match="has 1 classes"):
        ProtoNetConv4().prepare(Patterns(0.9, classes=1), tmp_path)


def test_an_extractor_must_be_prepared():
    with pytest.raises(MetricError, match="call prepare"):
        ProtoNetConv4().fingerprint()


def test_a_damaged_extractor_is_refused(tmp_path):
    ProtoNetConv4(episodes=1, force=True).prepare(Patterns(0.9), tmp_path)
    pointer, weights = next(tmp_path.glob("*.json")), next(tmp_path.glob("*.safetensors"))
    intact = weights.read_bytes()
    weights.write_bytes(intact[:-4] + b"\0\0\0\1")
    with pytest.raises(MetricError, match="not what it was"):
        conv4.load(pointer)
    weights.write_bytes(intact[:1000])
    with pytest.raises(MetricError, match="cannot be read"):
        conv4.load(pointer)
    weights.unlink()
    with pytest.raises(MetricError, match="cannot be read"):
        conv4.load(pointer)


def test_who_loses_a_race_uses_the_weights_of_the_winner(tmp_path, monkeypatch):
    train, tasks = conv4.train, Patterns(0.8)
    winner = train(tasks, episodes=5)

    def slow(tasks, *, episodes):
        name = f"protonet-conv4-{protonet.recipe(tasks, episodes)[:16]}"
        conv4.save(winner, tmp_path, name, kind="protonet-conv4", data="")
        return train(tasks, episodes=episodes)

    monkeypatch.setattr(conv4, "train", slow)
    loser = ProtoNetConv4(episodes=2)
    loser.prepare(tasks, tmp_path)
    assert loser.fingerprint() == winner.fingerprint()
    assert len(list(tmp_path.glob("*.json"))) == 1
    assert not list(tmp_path.glob(".writing-*"))


def test_two_processes_may_prepare_at_once(tmp_path):
    script = (
        "import sys; from pathlib import Path; from bench_builtin.feature_extractors import ProtoNetConv4; "
        "from bench_builtin.task_distributions import Digits; extractor = ProtoNetConv4(episodes=1, force=True); "
        "extractor.prepare(Digits(), Path(sys.argv[1])); print(extractor.fingerprint())"
    )
    running = [subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    printed = [process.communicate(timeout=120)[0].strip() for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert len(printed[0]) == 64
    assert printed[0] == printed[1]
    assert sorted(path.suffix for path in Path(tmp_path).iterdir()) == [".json", ".safetensors"]
