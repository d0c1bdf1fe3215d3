"""The part of the report about shots: the planted number of shots comes out, with bounds where it lies beyond what was measured."""

import pandas as pd
import pytest
import synthetic

from bench.report.estimates import Estimates
from bench.report.sections import build_sections
from bench.report.shots import shots_blocks
from bench.report.study import Slice, build_study
from bench.report.style import looks

SHOTS = (1, 2, 4)
LEVELS = {"reptile": (4.0, 3.0, 2.0), "finetune": (5.0, 4.0, 3.0), "scratch": (9.0, 9.0, 9.0), "maml": (1.0, 1.0, 1.0)}


def study(**changes):
    """Energies with planted means and no noise at all; every arm loses what the next number of shots gives."""
    frames = []
    for at, shots in enumerate(SHOTS):
        plain = synthetic.frame(distributions=("glyphs",), metrics=("energy",), curves=False, replicates=3, tasks=4)
        plain = plain[plain["regularisers"] == ""]
        level = plain["meta_learner"].map({name: levels[at] for name, levels in LEVELS.items()})
        frames.append(plain.assign(trial_id=plain["trial_id"] + f"-{shots}", shots=shots, value=level))
    table = pd.concat(frames, ignore_index=True)
    suite = synthetic.suite(**({"protocol": synthetic.suite()["protocol"] | {"shots": list(SHOTS)}} | changes))
    return build_study(table, synthetic.ledger(table), suite, synthetic.OUTPUTS)


def blocks(subject):
    return shots_blocks(Estimates(subject), looks(subject.live_arms))


def test_every_number_of_shots_is_a_slice():
    subject = study()
    assert [slice_.label for slice_ in subject.slices] == ["glyphs, 1 shot", "glyphs, 2 shots", "glyphs, 4 shots"]
    assert [[slice_.shots for slice_ in axis] for axis in subject.shots_axes] == [[1, 2, 4]]
    assert subject.slices[0].without_shots == Slice("glyphs")
    for slice_, reptile in zip(subject.slices, LEVELS["reptile"], strict=True):
        assert Estimates(subject).at(slice_, "reptile", "energy", 10).value == reptile


def test_one_number_of_shots_is_no_axis():
    table = synthetic.frame(distributions=("glyphs",), metrics=("energy",), curves=False)
    subject = build_study(table, synthetic.ledger(table), synthetic.suite(), synthetic.OUTPUTS)
    assert [slice_.label for slice_ in subject.slices] == ["glyphs"]
    assert blocks(subject) == ()


def test_the_shots_needed_are_those_where_the_curves_meet():
    *_, sentence, table = blocks(study())
    needed = {row[0].text: [cell.text for cell in row[1:]] for row in table.rows}
    assert needed == {
        "finetune": ["2.0 [2.0, 2.0]", "4.0 [4.0, 4.0]", "> 4 [> 4, > 4]"],  # reptile's 4, 3 and 2
        "scratch": ["> 4 [> 4, > 4]"] * 3,
        "maml": ["≤ 1 [≤ 1, ≤ 1]"] * 3,
    }
    assert table.columns == ("arm", "reptile, 1 shot", "reptile, 2 shots", "reptile, 4 shots")
    assert sentence.text == (
        "On glyphs, what reptile reaches with 1, 2 and 4 shots after 10 adaptation steps takes finetune 2.0, 4.0 and more than 4 shots. "
        "Intervals are in the table."
    )


def test_what_is_never_reached_is_said_once():
    *_, sentence, _ = blocks(study(primary={**synthetic.suite()["primary"], "compare": ["reptile", "scratch"]}))
    assert "takes scratch more than 4 shots each." in sentence.text


def test_the_figure_says_its_numbers():
    _, heading, gallery, *_ = blocks(study())
    (picture,) = gallery.pictures
    assert heading.text == "glyphs"
    assert picture.key == "shots-energy-glyphs"
    assert "At 1: scratch 9.00" in picture.alt
    assert "At 4: scratch 9.00" in picture.alt
    assert "reptile 4.00" in picture.alt.partition("At 4")[0]
    assert "reptile 2.00" in picture.alt.partition("At 4")[2]


def test_the_report_has_a_section_of_it(tmp_path):
    sections = {section.key: section for section in build_sections([tmp_path], study(), synthetic.provenance())}
    assert [picture.key for picture in sections["shots"].pictures] == ["shots-energy-glyphs"]
    assert sections["protocol"].tables[0].data.set_index("setting").loc["shots (support)"].tolist() == ["1", "2", "4"]


# ------------------------------------------------------------------ measured elsewhere
@pytest.fixture
def transfers():
    """Glyphs measured on glyphs and on digits, where half of the tasks are."""
    plain = synthetic.frame(distributions=("glyphs",), metrics=("energy",), replicates=3, tasks=4)
    tasks = sorted(set(plain.loc[plain["split"] == "meta-test", "task_id"].dropna()))
    there = plain[(plain["split"] != "meta-test") | plain["task_id"].isin(tasks[:2])]
    table = pd.concat(
        [
            plain.assign(task_distribution="glyphs -> glyphs"),
            there.assign(task_distribution="glyphs -> digits", trial_id=there["trial_id"] + "-there"),
        ],
        ignore_index=True,
    )
    suite = synthetic.suite(
        task_distributions=["glyphs"],
        test_on=["digits", "glyphs"],
        per_task_distribution={"glyphs": {"protocol": {"shots": 3}}},
    )
    return build_study(table, synthetic.ledger(table), suite, synthetic.OUTPUTS)


def test_slices_say_where_they_are_trained_and_measured(transfers):
    assert [slice_.label for slice_ in transfers.slices] == ["glyphs -> digits", "glyphs -> glyphs"]
    assert [transfers.trained_on(slice_) for slice_ in transfers.slices] == ["glyphs", "glyphs"]
    assert [transfers.measured_on(slice_) for slice_ in transfers.slices] == ["digits", "glyphs"]
    assert [name.label for name in transfers.training_slices.values()] == ["glyphs"]
    assert {transfers.setting(slice_, "protocol")["shots"] for slice_ in transfers.slices} == {3}


def test_a_transfer_shows_its_own_features_and_tasks_and_training_once(transfers, tmp_path):
    provenance = synthetic.provenance()
    provenance["extractors"]["digits"] = {"name": "other", "certificate": {}, "fingerprint": "d161"}
    sections = {section.key: section for section in build_sections([tmp_path], transfers, provenance)}
    protocol = sections["protocol"].tables[0].data.set_index("setting")
    assert [text.partition(";")[0] for text in protocol.loc["feature extractor"]] == ["other", "protonet-conv4"]
    assert protocol.loc["tasks"].tolist() == ["16 meta-val, 2 meta-test", "16 meta-val, 12 meta-test"]  # its own: what the suite says
    assert {picture.key.rpartition("-")[2] for picture in sections["training"].pictures} == {"glyphs"}
    assert len(sections["training"].pictures) == len({picture.key for picture in sections["training"].pictures})
