import pytest

from bench.report.text import clean, decimals_for, interval, latex, listing, markdown, number, quantity, slug


def test_an_interval_shows_two_digits_of_its_half_width():
    assert interval(1.9512, 1.71, 2.19) == "1.95 [1.71, 2.19]"
    assert interval(-0.0603, -0.0751, -0.0449) == "−0.060 [−0.075, −0.045]"
    assert interval(24_813.0, 20_000.0, 29_000.0) == "24,813 [20,000, 29,000]"


def test_a_value_never_shows_more_than_three_digits():
    assert interval(0.12476, 0.12471, 0.12481) == "0.125 [0.125, 0.125]"
    assert decimals_for(3.14159, float("nan"), float("nan")) == 2


def test_a_value_without_an_interval_stands_alone_and_an_undefined_one_says_so():
    assert interval(1.5, float("nan"), float("nan")) == "1.50"
    assert interval(float("nan"), float("nan"), float("nan")) == "n/a"


def test_rounding_leaves_no_negative_zero():
    assert number(-0.0004, 2) == "0.00"
    assert number(-1.5, 1) == "−1.5"


@pytest.mark.parametrize(("value", "shown"), [(22, "22"), (9_999, "9,999"), (41_200, "41.2 k"), (1.2e6, "1.2 M"), (3.1e13, "31 T")])
def test_large_quantities_get_a_suffix(value, shown):
    assert quantity(value) == shown


def test_control_and_bidirectional_characters_become_visible():
    assert clean("a\u202eb\x00c") == "a⟨U+202E⟩b⟨U+0000⟩c"
    assert clean("two\nlines\t here") == "two lines here"


def test_long_texts_are_cut():
    assert len(clean("x" * 10_000)) == 600


def test_latex_commands_in_data_stay_text():
    assert latex(r"\input{x} 100% a_b & $c$ #1 ~ ^") == (
        r"\textbackslash{}input\{x\} 100\% a\_b \& \$c\$ \#1 \textasciitilde{} \textasciicircum{}"
    )
    assert latex("−0.5 × 漢") == r"$-$0.5 $\times$ [U+6F22]"


def test_markdown_and_html_in_data_stay_text():
    assert markdown("a|b <script> *x* [l](u) `c`") == r"a\|b \<script\> \*x\* \[l\](u) \`c\`"


def test_slugs_are_file_names():
    assert slug("reptile (shuffled tasks), Ω/../x") == "reptile-shuffled-tasks-x"
    assert slug("../..") == "unnamed"


def test_listing_joins_with_and():
    assert (listing([]), listing(["a"]), listing(["a", "b"]), listing(["a", "b", "c"])) == ("", "a", "a and b", "a, b and c")
