import pytest
import synthetic

from bench.report.answer import answer_table, answers, settings_sentence
from bench.report.estimates import Estimates
from bench.report.study import build_study


def study(table, **changes):
    return build_study(table, synthetic.ledger(table), synthetic.suite(**changes), synthetic.OUTPUTS)


def only_answer(table, **changes):
    (answer,) = answers(Estimates(study(table, **changes)))
    return answer


def frame(**settings):
    return synthetic.frame(**({"distributions": ("glyphs",), "metrics": ("energy",), "curves": False} | settings))


def test_a_planted_gain_is_reported_with_its_sign_and_an_interval_around_it():
    answer = only_answer(frame(gain=1.0, noise=0.05))
    assert answer.contrast.verdict == 1
    assert answer.contrast.low < -1.0 < answer.contrast.high < 0
    assert "On glyphs, reptile beats finetune" in answer.text
    assert "95 % two-way interval over 12 tasks × 5 replicates" in answer.text


def test_a_planted_loss_is_reported_too():
    answer = only_answer(frame(gain=-1.0, control_gain=-1.0, noise=0.05))
    assert answer.contrast.verdict == -1
    assert answer.contrast.low < 1.0 < answer.contrast.high
    assert "finetune beats reptile" in answer.text
    assert "There is no gain to explain" in answer.text


def test_no_difference_is_undecided_and_the_interval_stands_there():
    answer = only_answer(frame(gain=0.0))
    assert answer.contrast.verdict == 0
    assert "undecided" in answer.text
    assert "the interval includes 0" in answer.text
    assert answer.contrast.low < 0 < answer.contrast.high


def test_without_a_control_the_gain_may_not_be_learning_to_adapt():
    assert "No shuffled-tasks control was run for reptile, so the gain may not be learning to adapt." in only_answer(frame(gain=1.0)).text


def test_without_a_control_and_without_a_gain_nothing_is_said_of_a_gain():
    text = only_answer(frame(gain=0.0)).text
    assert "No shuffled-tasks control was run for reptile." in text
    assert "the gain" not in text


def test_a_control_that_gains_as_much_leaves_task_structure_undecided():
    answer = only_answer(frame(gain=1.0, control_gain=1.0, noise=0.05))
    assert answer.control.verdict == 0
    assert "Whether any of this gain needs task structure is undecided" in answer.text


def test_a_control_with_a_quarter_of_the_gain_leaves_three_quarters_to_task_structure():
    answer = only_answer(frame(gain=2.0, control_gain=0.5, noise=0.01))
    assert answer.control.value / answer.contrast.value == pytest.approx(0.75, abs=0.03)
    assert "About 7" in answer.text
    assert "of this gain needs task structure" in answer.text


def test_a_control_that_beats_its_learner_says_that_none_of_the_gain_needs_structure():
    assert "None of this gain needs task structure" in only_answer(frame(gain=1.0, control_gain=2.0, noise=0.05)).text


def test_higher_is_better_turns_the_verdict_not_the_difference():
    table = frame(gain=0.0, metrics=("recall",))
    answer = only_answer(table, primary={"metric": "recall", "adaptation_step": 10, "compare": ["reptile", "finetune"]})
    assert answer.contrast.value > 0
    assert answer.contrast.verdict == 1
    assert "reptile beats finetune" in answer.text


def test_closer_is_better_compares_distances_from_the_ideal():
    table = frame(gain=0.0, metrics=("vendi",))
    answer = only_answer(table, primary={"metric": "vendi", "adaptation_step": 10, "compare": ["reptile", "finetune"]})
    assert answer.contrast.value < 0
    assert answer.contrast.verdict == 1


def test_one_replicate_gives_no_interval_and_no_verdict():
    answer = only_answer(frame(gain=3.0, replicates=1))
    assert answer.contrast.verdict == 0
    assert "without an interval" in answer.text


def test_three_replicates_are_called_few():
    few = only_answer(frame(gain=2.0, replicates=3, noise=0.01))
    assert few.contrast.verdict == 1
    assert "reptile is ahead of finetune, but 3 replicates cannot decide" in few.text
    assert "beats" not in few.text
    assert "5 or more are needed" in few.text
    assert "5 or more are needed" not in only_answer(frame(gain=1.0, replicates=5)).text


def test_diverged_replicates_stay_in_the_comparison_and_are_named():
    answer = only_answer(frame(gain=1.0, status={("reptile", 0): "diverged"}))
    assert answer.contrast.n_replicates == 5
    assert "1 of 5 replicates of reptile ended without numbers" in answer.text
    assert answer.contrast.verdict == 0  # one ceiling of 10.5 among five outweighs a gain of 1


def test_several_losses_give_one_answer_each():
    found = answers(Estimates(study(frame(gain=1.0, losses=("non-saturating", "hinge")), gan_losses=["non-saturating", "hinge"])))
    assert [answer.slice_.label for answer in found] == ["glyphs, GAN loss non-saturating", "glyphs, GAN loss hinge"]


def test_task_distributions_come_in_the_order_of_the_suite():
    found = answers(Estimates(study(frame(distributions=("glyphs", "gaussian-rings")))))
    assert [answer.slice_.label for answer in found] == ["gaussian-rings", "glyphs"]


def test_an_arm_without_measurements_makes_the_comparison_impossible():
    table = frame(status={("reptile", r): "planned" for r in range(5)})
    assert "cannot be made: no measurement of 'reptile'" in only_answer(table).text


def test_untuned_settings_are_said_to_be_so():
    table = frame()
    assert "untuned defaults" in settings_sentence(study(table))
    assert "notes/search.md" in settings_sentence(study(table, tuning_record="notes/search.md"))


def test_the_table_repeats_the_numbers_of_the_sentence():
    subject = study(frame(gain=1.0, control_gain=0.5))
    found = answers(Estimates(subject))
    row = answer_table(subject, found).data.iloc[0]
    assert (row["difference"], row["low"], row["high"]) == (found[0].contrast.value, found[0].contrast.low, found[0].contrast.high)
    assert row["difference_to_control"] == found[0].control.value


def test_a_suite_may_compare_two_arms_by_name():
    table = frame(gain=1.0, control_gain=0.0, noise=0.05)
    primary = {"metric": "energy", "adaptation_step": 10, "compare": ["reptile", "reptile (shuffled tasks)"]}
    answer = only_answer(table, primary=primary)
    assert [arm.name for arm in answer.arms] == ["reptile", "reptile (shuffled tasks)"]
    assert answer.contrast.verdict == 1


def test_learners_are_compared_once_for_each_set_of_regularisers_that_both_have():
    table = frame(gain=1.0)
    clipped = table[table["arm"] == "finetune"].copy()
    clipped["arm"], clipped["regularisers"] = "finetune + outer-clip", "outer-clip"
    clipped["trial_id"] = clipped["trial_id"] + "-clipped"
    found = answers(Estimates(study(synthetic.pd.concat([table, clipped]))))
    assert [answer.arms[0].name for answer in found] == ["reptile", "reptile + outer-clip"]
