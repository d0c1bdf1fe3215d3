import base64
import hashlib
import io
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
import synthetic
from matplotlib import _pylab_helpers
from PIL import Image

from bench import report
from bench.errors import MetricError, UsageError
from bench.report import FORMATS, write_report

QUICK = tuple(name for name in FORMATS if name != "pdf")  # a PDF of each figure takes as long as the rest: test_figure_formats.py
HOSTILE = "<script>alert('x')</script> \"q\" \u202eevil $x_1$ & {{ 7 * 7 }} 漢字"
VOID = {"meta", "img", "br", "wbr", "link", "input", "hr"}


class Page(HTMLParser):
    """Tags, attributes and text; fails on a tag that is closed out of order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes, self.text = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def write(results, table, *, suite=None, outputs=synthetic.OUTPUTS, **settings):
    return write_report(
        results,
        frame=table,
        suite=suite or synthetic.suite(),
        ledger=synthetic.ledger(table),
        metric_outputs=outputs,
        provenance=synthetic.provenance(),
        **settings,
    )


def contents(results):
    return {str(path.relative_to(results)): path.read_bytes() for path in sorted(results.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def table():
    return synthetic.frame(
        gain=1.0,
        control_gain=0.5,
        metrics=("energy", "coverage"),
        tasks=6,
        replicates=3,
        status={("maml", 1): "diverged", ("scratch", 0): "failed", ("scratch", 2): "planned"},
        reasons={("scratch", 0): HOSTILE},
    )


@pytest.fixture(scope="module")
def results(tmp_path_factory, table):
    folder = tmp_path_factory.mktemp("results")
    synthetic.write_samples(folder, table)
    paths = write(folder, table, formats=QUICK)
    assert all(path.is_file() for path in paths)
    return folder


@pytest.fixture(scope="module")
def page(results):
    return Page((results / "report.html").read_text(encoding="utf-8"))


def test_the_page_tells_question_answer_protocol_and_evidence_in_this_order(page):
    ids = [value for tag, name, value in page.attributes if (tag, name) == ("section", "id")]
    assert ids == [
        "question", "answer", "protocol", "results", "comparison", "conditional", "adaptation", "collapse", "samples", "failures",
        "convergence", "training", "costs", "overhead", "trials", "provenance",
    ]  # fmt: skip


def test_every_image_is_embedded_and_has_a_text_alternative(page):
    sources = [value for tag, name, value in page.attributes if (tag, name) == ("img", "src")]
    alternatives = [value for tag, name, value in page.attributes if (tag, name) == ("img", "alt")]
    assert len(sources) == len(alternatives) > 10
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert all(len(text) > 20 for text in alternatives)


def test_the_page_runs_its_own_script_alone(results, page):
    raw = (results / "report.html").read_text(encoding="utf-8")
    (script,) = re.findall(r"<script>(.*?)</script>", raw, re.S)
    assert page.tags.count("script") == 1
    assert ("script", "src") not in [(tag, name) for tag, name, _ in page.attributes]
    assert script == (Path(report.__file__).parent / "page.js").read_text(encoding="utf-8")
    (policy,) = [value for tag, name, value in page.attributes if (tag, name) == ("meta", "content") and "default-src" in value]
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{allowed}';" in policy
    assert "unsafe" not in policy


def test_nothing_on_the_page_is_fetched(page):
    assert not {"iframe", "object", "embed", "link", "form"} & set(page.tags)
    assert not any(name.startswith("on") or name == "style" for _, name, _ in page.attributes)
    assert all(value.startswith("#") for tag, name, value in page.attributes if name == "href")


def test_hostile_text_is_shown_not_run(results, page):
    assert "<script>alert('x')</script>" in "".join(page.text)
    assert "{{ 7 * 7 }}" in "".join(page.text)
    raw = (results / "report.html").read_text(encoding="utf-8")
    assert raw.count("<script") == 1
    assert "\u202e" not in raw
    assert "\u202e" not in (results / "report" / "report.md").read_text(encoding="utf-8")


def test_unfinished_cells_make_the_report_partial(page):
    assert "Partial report." in page.text


def test_figures_come_as_png_and_svg_at_column_width(results):
    with Image.open(results / "report" / "adaptation-energy-glyphs.png") as image:
        assert image.width / 192 == pytest.approx(3.35, abs=0.01)
    svg = (results / "report" / "adaptation-energy-glyphs.svg").read_text(encoding="utf-8")
    assert "<svg" in svg
    assert "date" not in svg.lower()


def test_tables_come_in_three_formats(results):
    for ending in ("csv", "md", "tex"):
        assert (results / "report" / f"aggregate-glyphs.{ending}").stat().st_size > 0


def test_several_comparisons_say_what_chance_would_do(results):
    table = (results / "report" / "answer.md").read_text(encoding="utf-8")
    assert "Each of the 2 intervals stands alone" in table
    assert "about 0.1 of them would exclude 0 by chance" in table


def test_sample_grids_are_written_for_every_arm_that_kept_samples(results, table):
    arms = set(table.loc[(table["replicate"] == 0) & (table["status"] == "ok"), "arm"])
    assert len(list((results / "report").glob("samples-*-glyphs.png"))) == len(arms) + 1
    assert (results / "report" / "samples-compared-gaussian-rings.png").is_file()


def test_equal_results_give_equal_bytes(results, table, tmp_path):
    again = tmp_path / "again"
    shutil.copytree(results / "trials", again / "trials")
    mpl.rcParams["font.size"] = 30.0  # a user's style is not the report's
    try:
        write(again, table, formats=QUICK)
    finally:
        mpl.rcdefaults()
    assert contents(again) == contents(results)


def test_no_figure_of_pyplot_is_left_behind(results):
    assert _pylab_helpers.Gcf.figs == {}


def test_the_page_of_a_hundred_trials_stays_below_five_megabytes(results):
    # 42 trials of two slices and two metrics here: well below in proportion.
    assert (results / "report.html").stat().st_size < 2_000_000


def test_hostile_names_of_arms_and_task_distributions_are_inert(tmp_path):
    table = synthetic.frame(distributions=("glyphs",), metrics=("energy",), tasks=3, replicates=2, curves=False)
    table["arm"] = table["arm"].replace("maml", f"maml {HOSTILE}")
    table["task_distribution"] = f"../{HOSTILE}"
    write(tmp_path, table, formats=("html", "latex"))
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert page.tags.count("script") == 1
    assert {path.parent for path in tmp_path.rglob("*.png")} == {tmp_path / "report"}


def test_names_with_equal_plain_spellings_keep_a_file_each(tmp_path):
    table = synthetic.frame(distributions=("glyphs",), metrics=("energy",), tasks=3, replicates=2, curves=False)
    other = table.assign(task_distribution="GLYPHS!", trial_id=table["trial_id"] + "-2")
    write(tmp_path, synthetic.pd.concat([table, other]), formats=("csv",))
    assert (tmp_path / "report" / "aggregate-glyphs.csv").read_text() != (tmp_path / "report" / "aggregate-glyphs-2.csv").read_text()
    assert (tmp_path / "report" / "adaptation-energy-glyphs-2.png").is_file()


def test_a_suite_without_any_result_still_has_a_report(tmp_path):
    arms = [*synthetic.LEARNERS, "reptile + outer-clip"]
    table = synthetic.frame(status={(arm, r): "planned" for arm in arms for r in range(5)})
    write(tmp_path, table, formats=("html", "md"))
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "no answer yet" in text
    assert "Partial report." in text


def test_a_suite_in_which_everything_failed_says_so(tmp_path):
    arms = [*synthetic.LEARNERS, "reptile + outer-clip"]
    table = synthetic.frame(status={(arm, r): "failed" for arm in arms for r in range(5)})
    write(tmp_path, table, formats=("html",))
    assert "no answer yet" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_samples_that_are_not_finite_are_drawn(tmp_path):
    table = synthetic.frame(distributions=("glyphs", "gaussian-rings"), metrics=("energy",), tasks=3, replicates=2, curves=False)
    synthetic.write_samples(tmp_path, table)
    for path in tmp_path.glob("trials/*finetune-0/samples.npz"):
        stored = dict(np.load(path))
        stored["generated"][-1] = np.nan
        np.savez(path, **stored)
    write(tmp_path, table, formats=("html",))
    assert (tmp_path / "report" / "samples-finetune-glyphs.png").is_file()


def test_samples_without_a_picture_leave_their_section_out(tmp_path):
    table = synthetic.frame(distributions=("glyphs",), metrics=("energy",), tasks=3, replicates=2, curves=False)
    folder = tmp_path / "trials" / table["trial_id"].iloc[0]
    folder.mkdir(parents=True)
    np.savez(
        folder / "samples.npz", steps=np.array([0, 1]), task_ids=np.array(["a"]), support=np.zeros((1, 5, 1)), query=np.zeros((1, 5, 1)),
        generated=np.zeros((2, 1, 4, 1)),
    )  # fmt: skip
    write(tmp_path, table, formats=("html",))
    assert 'id="samples"' not in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_only_the_formats_asked_for_are_written(tmp_path):
    table = synthetic.frame(distributions=("glyphs",), metrics=("energy",), tasks=3, replicates=2, curves=False)
    paths = write(tmp_path, table, formats=("csv",))
    assert {path.suffix for path in paths} == {".csv", ".png", ".svg"}
    assert not (tmp_path / "report.html").exists()


def test_an_unknown_format_is_refused_with_the_known_ones(tmp_path):
    with pytest.raises(UsageError, match=r"'htlm'.*Did you mean 'html'.*latex"):
        write(tmp_path, synthetic.frame(tasks=2, replicates=1, metrics=("energy",)), formats=("htlm",))


def test_mixed_fingerprints_write_nothing(tmp_path):
    table = synthetic.frame(distributions=("glyphs",), metrics=("energy",), tasks=3, replicates=2, curves=False)
    table.loc[table["arm"] == "maml", "fingerprint"] = "another"
    with pytest.raises(MetricError, match="'another'.*'energy-glyphs'"):
        write(tmp_path, table)
    assert not any(tmp_path.iterdir())


def test_one_colour_an_arm_in_every_figure_and_controls_dashed():
    from bench.report.study import build_study
    from bench.report.style import looks

    table = synthetic.frame(control_gain=0.1, tasks=2, replicates=1, metrics=("energy",), curves=False)
    study = build_study(table, synthetic.ledger(table), synthetic.suite(), synthetic.OUTPUTS)
    styles = looks(study.arms)
    assert styles["reptile (shuffled tasks)"].colour == styles["reptile"].colour
    assert styles["reptile (shuffled tasks)"].dashed
    real = [look.colour for name, look in styles.items() if not look.dashed]
    assert len(set(real)) == len(real)


def test_the_report_names_the_command_and_the_extractors_certificate(page):
    text = " ".join(page.text)
    assert "bench run suites/fewshot.yaml" in text
    assert re.search(r"protonet-conv4; certificate: one_shot_accuracy 0\.58; ways 20; fingerprint 9c0ffee1", text)


def test_folded_drawings_have_half_the_pixels_on_the_page_and_all_of_them_beside_it(results):
    raw = (results / "report.html").read_text(encoding="utf-8")
    folded = re.search(r"<details>.*?</details>", raw[raw.index('<section id="training">') :], re.S)[0]
    pictures = re.findall(r'base64,([^"]+)" width="(\d+)"', folded)
    assert pictures
    for content, width in pictures:
        with Image.open(io.BytesIO(base64.b64decode(content))) as image:
            assert image.width == pytest.approx(int(width), abs=1)
    with Image.open(results / "report" / "adaptation-energy-glyphs.png") as image:
        assert image.width == pytest.approx(2 * 322, abs=1)
