"""Learners without a game: what they draw, the bandwidth that they choose, and how a trial runs them."""

import math
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp
from scipy.stats import gaussian_kde, kstest

import bench
from bench.cli import main
from bench.contracts import Episode
from bench.errors import ExitCode
from bench.frame import ledger_frame
from bench_builtin.meta_learners import Kde, Memorise
from bench_builtin.meta_learners.samplers import most_likely_bandwidth, scott


def rng(seed=0):
    return np.random.default_rng(seed)


def episodes(tasks=5, shots=6, query=40, features=2, seed=1):
    """Gaussian tasks of standard deviation 1 around means of their own."""
    draw = rng(seed)
    made = []
    for number in range(tasks):
        mean = 10 * draw.normal(size=features)
        support, held_out = (mean + draw.normal(size=(n, features)) for n in (shots, query))
        made.append(Episode(str(number), {"x": support}, {"x": held_out}))
    return made


def log_likelihood(h, tasks):
    """Mean log density of the queries under kernels of width h on the supports, by definition."""
    values = []
    for task in tasks:
        support, query = task.support["x"], task.query["x"]
        features = support.shape[1]
        exponents = -np.square(query[:, None] - support[None]).sum(2) / (2 * h**2)
        values.append(logsumexp(exponents, axis=1) - math.log(len(support)) - features / 2 * math.log(2 * math.pi * h**2))
    return float(np.mean(values))


# ------------------------------------------------------------------ draws
@pytest.mark.parametrize("shape", [(2,), (1, 4, 4), (3, 10)], ids=["points", "image", "signal"])
def test_memorise_draws_support_samples(shape):
    support = rng().normal(size=(5, *shape)).astype(np.float32)
    drawn = Memorise().sample({}, support, 400, rng(1))
    assert drawn.shape == (400, *shape)
    assert drawn.dtype == np.float32
    which = [next(i for i, own in enumerate(support) if np.array_equal(own, sample)) for sample in drawn]
    assert np.bincount(which, minlength=5).min() > 400 / 5 - 5 * math.sqrt(400 * 0.2 * 0.8)


def test_noise_has_the_deviation_asked_for():
    drawn = Memorise(noise=0.3).sample({}, np.zeros((4, 2)), 20_000, rng())
    assert kstest(drawn.ravel() / 0.3, "norm").pvalue > 1e-3


def test_a_kernel_density_of_one_sample_is_the_kernel():
    kde = Kde(bandwidth=0.25)
    drawn = kde.sample(kde.fit([]), np.full((1, 3), 2.0), 20_000, rng())
    assert kstest((drawn.ravel() - 2) / 0.25, "norm").pvalue > 1e-3


def test_draws_have_the_moments_of_the_mixture():
    """Mean of the support; covariance of the support (its population's) plus h^2 I."""
    support, n = rng().normal(size=(6, 2)), 200_000
    kde = Kde(bandwidth=0.7)
    drawn = kde.sample(kde.fit([]), support, n, rng(1))
    expected = np.cov(support.T, bias=True) + 0.7**2 * np.eye(2)
    assert np.allclose(drawn.mean(0), support.mean(0), atol=5 * math.sqrt(expected.max() / n))
    assert np.allclose(np.cov(drawn.T), expected, atol=0.03)


def test_the_generator_decides_the_draws():
    support = rng().normal(size=(6, 2))
    one, same, other = (Memorise(noise=0.1).sample({}, support, 9, rng(seed)) for seed in (3, 3, 4))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


# ------------------------------------------------------------------ bandwidths
def test_scotts_bandwidth_is_that_of_scipy():
    """SciPy's factor times the deviation, in one dimension."""
    samples = rng().normal(size=(20, 1))
    assert scott(samples) == pytest.approx(math.sqrt(gaussian_kde(samples.T).covariance[0, 0]), rel=1e-12)


def test_scotts_bandwidth_scales_with_the_samples_and_is_zero_for_one():
    samples = rng().normal(size=(20, 1, 4, 4))
    assert scott(3 * samples + 1) == pytest.approx(3 * scott(samples), rel=1e-12)
    assert scott(samples[:1]) == 0.0


def test_with_one_support_sample_the_likeliest_variance_is_the_mean_square():
    tasks = episodes(shots=1)
    squares = [np.square(task.query["x"] - task.support["x"]).mean() for task in tasks]
    assert most_likely_bandwidth(tasks) == pytest.approx(math.sqrt(np.mean(squares)), rel=1e-12)


def test_the_likeliest_bandwidth_is_a_maximum_of_the_likelihood():
    tasks = episodes()
    found = minimize_scalar(
        lambda log_h: -log_likelihood(math.exp(log_h), tasks), bounds=(-4, 4), method="bounded", options={"xatol": 1e-10}
    )
    assert most_likely_bandwidth(tasks) == pytest.approx(math.exp(found.x), rel=1e-5)
    assert most_likely_bandwidth(tasks) < scott(np.concatenate([task.support["x"] for task in tasks]))


def test_the_likeliest_bandwidth_scales_with_the_samples():
    tasks = episodes()
    scaled = [Episode(t.task_id, {"x": 7 * t.support["x"]}, {"x": 7 * t.query["x"]}) for t in tasks]
    assert most_likely_bandwidth(scaled) == pytest.approx(7 * most_likely_bandwidth(tasks), rel=1e-6)


def test_queries_that_are_copies_leave_a_finite_bandwidth():
    copies, others = (Episode(name, {"x": support}, {"x": np.eye(2)}) for name, support in (("0", np.eye(2)), ("1", np.zeros((2, 2)))))
    assert 0 < most_likely_bandwidth([copies]) < 1e-100
    assert 0 < most_likely_bandwidth([copies, others]) < 1


def test_only_a_bandwidth_of_meta_train_asks_for_tasks():
    assert (Kde(tasks=3).episodes, Kde(bandwidth="scott").episodes, Kde(bandwidth=0.1).episodes, Memorise().episodes) == (3, 0, 0, 0)


# ------------------------------------------------------------------ in a trial
SUITE = """
question: What do learners without a game do?
name: samplers
replicates: 2
primary: {{metric: energy, adaptation_step: 2, compare: [kde, scratch]}}
budget: {{gradient_evaluations: 100}}
protocol:
  shots: 8
  query: 8
  samples: 16
  task_batch: 3
  adaptation_steps: {{train: 2, test: [0, 2]}}
  tasks: {{meta_val: 2, meta_test: 2}}
games: {games}
task_distributions: {tasks}
networks: [{{mlp: {{width: 8}}}}]
gan_losses: [non-saturating]
meta_learners: [scratch, memorise, {{kde: {{tasks: 4}}}}, {{kde: {{bandwidth: 0.05, label: narrow}}}}]
regularisers: [[], [r1]]
metrics: [energy, memorisation, mse]
"""


def run(folder, *options, games="[gan]", tasks="[gaussian-rings, digits]"):
    suite = Path(folder, "samplers.yaml")
    suite.write_text(SUITE.format(games=games, tasks=tasks))
    results = Path(folder, "results")
    assert main(["run", str(suite), "--output", str(results), "--executor", "inline", "--device", "cpu", *options]) == ExitCode.OK
    return results


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return run(tmp_path_factory.mktemp("samplers"))


def of(frame, learner, metric="energy"):
    rows = frame[(frame["meta_learner"] == learner) & (frame["metric"] == metric) & (frame["split"] == "meta-test")]
    return rows[rows["status"] == "ok"].sort_values(["task_distribution", "replicate", "adaptation_step", "task_id"])


def test_cells_are_ok_and_cost_what_they_look_at(results):
    ledger = ledger_frame(results)
    plain = ledger[ledger["regularisers"] == ""]
    assert set(plain["status"]) == {"ok"}
    costs = plain.groupby("meta_learner", observed=True)[["gradient_evaluations", "samples_seen"]].agg(lambda values: set(values))
    assert costs.loc["kde"].tolist() == [{0}, {4 * (8 + 8)}]
    assert costs.loc["memorise"].tolist() == costs.loc["narrow"].tolist() == [{0}, {0}]


def test_a_regulariser_of_a_game_that_is_not_played_is_skipped_with_its_reason(results):
    ledger = ledger_frame(results)
    skipped = ledger[(ledger["regularisers"] == "r1") & (ledger["meta_learner"] != "scratch")]
    assert set(skipped["status"]) == {"skipped"}
    assert set(skipped["reason"]) == {"memorise plays no game, so r1 changes nothing", "kde plays no game, so r1 changes nothing"}


def test_they_draw_the_same_at_every_step_and_for_every_replicate(results):
    """A replicate changes networks and the order of meta-train tasks, of which these have no part."""
    for learner in ("memorise", "narrow"):
        rows = of(bench.load_results(results), learner)
        groups = [
            group["value"].tolist() for _, group in rows.groupby(["task_distribution", "replicate", "adaptation_step"], observed=True)
        ]
        assert len(groups) == 2 * 2 * 2
        assert all(group == groups[4 * (number // 4)] for number, group in enumerate(groups))


def test_the_bandwidth_is_fitted_to_the_tasks_of_a_replicate(results):
    energies = of(bench.load_results(results), "kde").groupby(["task_distribution", "replicate"], observed=True)["value"].agg(list)
    assert energies.loc["gaussian-rings", 0] != energies.loc["gaussian-rings", 1]


def test_memorisation_is_seen_for_what_it_is(results):
    """Copies lie at distance 0 from the support, and the energy gap shows them nearer to it than to held-out samples."""
    frame = bench.load_results(results)
    novelty = {learner: of(frame, learner, "novelty")["value"].to_numpy() for learner in ("memorise", "narrow", "kde", "scratch")}
    assert set(novelty["memorise"]) == {0.0}
    assert all((values > 0).all() for learner, values in novelty.items() if learner != "memorise")
    gaps = of(frame, "memorise", "energy-gap").groupby("task_distribution", observed=True)["value"].mean()
    assert (gaps > 0).all()


def test_images_are_measured_in_their_range(results):
    """A kernel leaves the range of pixel values, and what is measured does not: energy is that of clipped samples."""
    frame = bench.load_results(results)
    assert np.isfinite(of(frame[frame["task_distribution"] == "digits"], "kde")["value"]).all()


def test_regression_is_skipped_with_the_reason(tmp_path):
    ledger = ledger_frame(run(tmp_path, games="[regression]", tasks="[sinusoids]"))
    skipped = ledger[(ledger["meta_learner"] != "scratch") & (ledger["regularisers"] == "")]
    reason = "draws samples of kind image, points, signal, but sinusoids has regression"
    assert set(skipped["reason"]) == {f"memorise {reason}", f"kde {reason}"}
