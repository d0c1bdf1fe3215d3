"""Drawings as PNG, SVG and PDF: for papers, and with bytes that repeat."""

import re

import pytest

from bench.report.style import COLUMN, canvas, figure_formats, finish, legend_below


def drawn(*formats):
    with figure_formats(formats), canvas() as (figure, axes):
        axes.plot([0, 1, 2], [3, 1, 2], label="reptile − finetune →")
        axes.set_title("$x_1$ & µ")
        legend_below(figure, axes)
        return finish(figure, key="line", title="a line", alt="a line")


def test_equal_drawings_have_equal_bytes_in_every_format():
    one, again = drawn("svg", "pdf"), drawn("svg", "pdf")
    assert one == again
    assert set(one.files) == {"svg", "pdf"}


def test_a_pdf_has_column_width_embedded_outlines_and_no_date():
    content = drawn("pdf").files["pdf"]
    width = float(re.search(rb"/MediaBox \[ 0 0 ([\d.]+)", content)[1])
    assert width == pytest.approx(72 * COLUMN)
    assert b"/FontFile2" in content
    assert b"/Type3" not in content
    assert b"Date" not in content
    assert b"Matplotlib" not in content


def test_only_the_formats_that_are_wanted_are_drawn():
    assert drawn().files == {}
    assert set(drawn("svg").files) == {"svg"}
