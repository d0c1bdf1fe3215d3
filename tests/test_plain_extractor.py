"""A plugin's plain function is a feature extractor: named by its source and hyperparameters, checked where it is called."""

import numpy as np
import pytest
from plugins_fixture import installed, write_distribution

from bench.contracts import MetricError
from bench.registry.registry import discover
from bench.trial import assemble

SOURCE = '''
import numpy as np

def bands(*, rows: Annotated[int, Field(ge=1)] = 2):
    """Mean brightness of horizontal bands."""
    def features(samples):
        return np.stack([band.reshape(len(samples), -1).mean(1) for band in np.array_split(samples, rows, axis=2)], 1)
    return features

bands.kinds = ("image",)

def per_pixel():
    return lambda samples: samples

per_pixel.kinds = ("image",)

class Sums:
    """An extractor with the whole contract."""
    kinds: ClassVar = ("image",)
    def prepare(self, tasks, cache): self.size = tasks.sample_spec.shape[1]
    def features(self, samples): return samples.reshape(len(samples), -1).sum(1, keepdims=True).astype(float) / self.size
    def fingerprint(self): return f"sums of {self.size}"
    def certificate(self): return {"size": self.size}

@hookimpl
def bench_feature_extractors():
    return {"bands": bands, "per-pixel": per_pixel, "sums": Sums}
'''


@pytest.fixture(scope="module")
def extractor(tmp_path_factory):
    """Extractor by name and hyperparameters, as a trial gets it."""
    site, cache = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("cache")
    write_distribution(site, "bench-bands", {"bench_bands.py": SOURCE}, entry="bands")
    with installed(site, cache) as patch:
        registry = discover()
        patch.setattr(assemble, "worker_registry", lambda: registry)
        assert registry.component("feature_extractors", "bands").attributes["kinds"] == ["image"]
        assemble._tasks.cache_clear()
        assemble._extractor.cache_clear()
        yield lambda name, parameters="{}": assemble._extractor(name, parameters, "digits", "{}", cache)
        assemble._tasks.cache_clear()
        assemble._extractor.cache_clear()


IMAGE = np.arange(8.0).reshape(1, 1, 4, 2)  # rows of means 0.5, 2.5, 4.5, 6.5


def test_a_plain_function_extracts(extractor):
    assert extractor("bands").features(IMAGE).tolist() == [[1.5, 5.5]]
    assert extractor("bands", '{"rows": 4}').features(IMAGE).tolist() == [[0.5, 2.5, 4.5, 6.5]]
    assert extractor("bands").certificate() == {}


def test_its_name_is_its_source_with_its_hyperparameters(extractor):
    assert extractor("bands").fingerprint() == extractor("bands").fingerprint()
    assert (
        len({extractor("bands").fingerprint(), extractor("bands", '{"rows": 4}').fingerprint(), extractor("per-pixel").fingerprint()}) == 3
    )


def test_features_of_the_wrong_shape_are_refused(extractor):
    with pytest.raises(MetricError, match=r"'per-pixel' must give one row per sample, \(1, F\), got shape \(1, 1, 4, 2\); flatten"):
        extractor("per-pixel").features(IMAGE)


def test_an_extractor_with_the_whole_contract_is_taken_as_it_is(extractor):
    sums = extractor("sums")
    assert (sums.fingerprint(), sums.certificate()) == ("sums of 8", {"size": 8})  # digits have 8 x 8 pixels
    assert sums.features(IMAGE).tolist() == [[3.5]]
