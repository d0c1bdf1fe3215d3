"""What every task distribution owes its users."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.contracts import SPLITS, Episode
from bench.testing.contract import Contract, global_state_untouched


class TaskDistributionContract(Contract):
    """What every task distribution owes its users. Give a fixture ``tasks``; ``shots`` and ``query`` may be overridden."""

    shots, query = 4, 5

    def test_episodes_have_the_promised_shape_and_range(self, tasks: Any) -> None:
        """As ``sample_spec`` says, in every split; so many of each class where tasks are labelled."""
        for split in SPLITS:
            episode = self._episode(tasks, split, 0)
            for part, n in (("support", self.shots), ("query", self.query)):
                x = getattr(episode, part)["x"]
                assert x.shape == (n * max(1, tasks.sample_spec.classes), *tasks.sample_spec.shape)
                assert x.dtype == np.float32
                assert np.isfinite(x).all()
                if tasks.sample_spec.low is not None:
                    assert x.min() >= tasks.sample_spec.low
                    assert x.max() <= tasks.sample_spec.high

    def test_labels_follow_one_another(self, tasks: Any) -> None:
        """Row i of a labelled task is of class i modulo ways, one-hot; and the planner is told that there are labels."""
        classes = tasks.sample_spec.classes
        assert getattr(tasks, "labelled", False) == (classes > 0)
        if classes:
            episode = self._episode(tasks, "meta-train", 0)
            for part, n in ((episode.support, self.shots), (episode.query, self.query)):
                assert part["y"].dtype == np.float32
                assert np.array_equal(part["y"], np.tile(np.eye(classes), (n, 1)))

    def test_the_generator_decides_everything(self, tasks: Any) -> None:
        """Equal generators draw equal episodes, others draw others."""
        one, same, other = (self._episode(tasks, "meta-train", 0, seed) for seed in (1, 1, 2))
        assert np.array_equal(one.support["x"], same.support["x"])
        assert np.array_equal(one.query["x"], same.query["x"])
        assert not np.array_equal(one.support["x"], other.support["x"])

    def test_support_and_query_are_disjoint(self, tasks: Any) -> None:
        """No sample is in both."""
        episode = self._episode(tasks, "meta-test", 0)
        support, query = (np.asarray(part["x"]).reshape(len(part["x"]), -1) for part in (episode.support, episode.query))
        assert not any((row == other).all() for row in support for other in query)

    def test_the_query_may_be_empty(self, tasks: Any) -> None:
        """Shuffled tasks are made from single support samples."""
        episode = tasks.episode("meta-train", 0, shots=1, query=0, rng=np.random.default_rng(0))
        assert len(episode.query["x"]) == 0

    def test_splits_share_no_task(self, tasks: Any) -> None:
        """Where tasks can be counted, those of meta-test are seen in no other split; else each is drawn from the generator."""
        if any(tasks.size(split) is None for split in SPLITS):
            one, other = (self._episode(tasks, "meta-test", 0, seed).query["x"] for seed in (1, 2))
            assert not np.array_equal(one, other)
            return
        names = {split: {self._episode(tasks, split, task).task_id for task in range(min(tasks.size(split), 8))} for split in SPLITS}
        assert all(tasks.size(split) > 0 for split in SPLITS)
        assert not names["meta-test"] & (names["meta-train"] | names["meta-val"])
        assert not names["meta-val"] & names["meta-train"]

    def test_it_says_what_the_planner_asks(self, tasks: Any) -> None:
        """The class's ``kind``, where it has one, is that of its samples; the fingerprint of the data is a text."""
        assert getattr(type(tasks), "kind", tasks.sample_spec.kind) == tasks.sample_spec.kind
        assert isinstance(tasks.fingerprint(), str)
        assert tasks.fingerprint() == tasks.fingerprint()

    def test_what_all_components_share_is_left_alone(self, tasks: Any) -> None:
        """Random state, default dtype and their like; and an episode once drawn is not changed by the next."""
        with global_state_untouched():
            episode = self._episode(tasks, "meta-train", 0)
            kept = {part: getattr(episode, part)["x"].copy() for part in ("support", "query")}
            self._episode(tasks, "meta-train", 0, seed=7)
        assert all(np.array_equal(getattr(episode, part)["x"], x) for part, x in kept.items())

    def _episode(self, tasks: Any, split: Any, task: int, seed: int = 0) -> Episode:
        episode: Episode = tasks.episode(split, task, shots=self.shots, query=self.query, rng=np.random.default_rng(seed))
        return episode
