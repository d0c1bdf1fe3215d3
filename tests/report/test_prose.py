import pytest

from bench.report.blocks import Paragraph, Table
from bench.report.prose import prose

TEXT = """\
# Ranks

Two lines that
are one paragraph.

| arm | rank | note |
|---|---:|:---:|
| reptile | 1.5 | a \\| b |
| maml | 2 |

- first
1. second

```python
for arm in arms:
    print(arm)
```

## Counts
| arm | n |
|-----|--:|
| maml | 3 |
"""


@pytest.fixture(scope="module")
def blocks():
    return prose(TEXT, key="reporter-ranks", title="ranks")


def said(blocks):
    return [(block.role, block.text) for block in blocks if isinstance(block, Paragraph)]


def test_headings_paragraphs_items_and_code_are_told_apart(blocks):
    assert said(blocks) == [
        ("heading", "Ranks"),
        ("", "Two lines that are one paragraph."),
        ("", "• first"),
        ("", "• second"),
        ("code", "for arm in arms:\n    print(arm)"),
        ("heading", "Counts"),
    ]


def test_a_table_has_its_headings_rows_and_numbers(blocks):
    ranks, counts = (block for block in blocks if isinstance(block, Table))
    assert ranks.columns == ("arm", "rank", "note")
    assert [[cell.text for cell in row] for row in ranks.rows] == [["reptile", "1.5", "a | b"], ["maml", "2", ""]]
    assert [cell.numeric for cell in ranks.rows[0]] == [False, True, False]
    assert list(ranks.data["rank"]) == ["1.5", "2"]
    assert (ranks.caption, counts.caption) == ("Ranks", "Counts")
    assert (ranks.key, counts.key) == ("reporter-ranks-1", "reporter-ranks-2")


def test_html_stays_text():
    assert said(prose("<script>alert(1)</script>\n<b>bold</b>", key="k", title="t")) == [("", "<script>alert(1)</script> <b>bold</b>")]


@pytest.mark.parametrize("text", ["", "\n \n", "```", "|", "|-|", "a | b\n---", "# ", "| a |\n|---|", "\x00\u202e", "    "])
def test_any_text_ends_and_gives_blocks(text):
    assert all(isinstance(block, Paragraph | Table) for block in prose(text, key="k", title="t"))


def test_nothing_that_a_paragraph_says_is_lost():
    text = "one | two\nthree\n~~~\ncode\n~~~\nfour"
    assert said(prose(text, key="k", title="t")) == [("", "one | two three"), ("code", "code"), ("", "four")]
