import html
import json
import re
import shutil
import subprocess

import pytest
import synthetic

from bench.report import write_report

CHROMIUM = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH")]
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--host-resolver-rules=MAP * ~NOTFOUND",
    "--virtual-time-budget=5000", "--enable-logging=stderr", "--dump-dom",
)  # fmt: skip

# Measures the report in a frame of its own width, because a headless window cannot be narrower than 500 pixels.
PROBE = """<!doctype html><title>probe</title><iframe width="{width}" height="800" style="border:0" srcdoc="{page}"></iframe><pre></pre>
<script>
const frame = document.querySelector("iframe");
frame.onload = () => {{
  const page = frame.contentDocument, root = page.documentElement, images = [...page.images];
  document.querySelector("pre").textContent = JSON.stringify({{
    inner: frame.contentWindow.innerWidth, scroll: root.scrollWidth, client: root.clientWidth,
    images: images.length, broken: images.filter(i => !i.complete || !i.naturalWidth).length,
    requests: frame.contentWindow.performance.getEntriesByType("resource").filter(e => !e.name.startsWith("data:")).map(e => e.name),
    styled: getComputedStyle(page.querySelector(".answer")).borderLeftStyle, pwned: window.pwned === true,
  }});
}};
</script>"""

# Uses the tables as a reader does, and tells what it finds after each step.
USE = """<!doctype html><title>use</title><iframe width="1200" height="800" style="border:0" srcdoc="{page}"></iframe><pre></pre>
<script>
const frame = document.querySelector("iframe");
frame.onload = () => {{
  const page = frame.contentDocument, table = page.querySelector("#rows-aggregate-glyphs"), told = {{}};
  const heading = (n) => table.tHead.rows[0].cells[n], names = (rows) => rows.map(row => row.cells[0].textContent);
  const look = (n) => ({{
    names: names([...table.tBodies[0].rows]), values: [...table.tBodies[0].rows].map(row => row.cells[n].firstElementChild.textContent),
    sort: heading(n).getAttribute("aria-sort"), others: table.querySelectorAll("[aria-sort]").length,
  }});
  told.given = look(2);
  for (const step of ["ascending", "descending", "again"]) {{ heading(2).querySelector("button").click(); told[step] = look(2); }}
  heading(2).querySelector("button").click(); heading(0).querySelector("button").click(); told.byName = look(0);
  const field = table.closest("figure").querySelector("input");
  told.label = field.labels[0].textContent.trim();
  told.filter = {{}};
  for (const words of ["reptile", "REPTILE clip", "no such arm", ""]) {{
    field.value = words; field.dispatchEvent(new frame.contentWindow.Event("input"));
    told.filter[words] = {{
      names: names([...table.tBodies[0].rows].filter(row => row.offsetParent)),
      said: table.closest("figure").querySelector("[role=status]").textContent,
    }};
  }}
  told.missing = [...page.querySelectorAll("a[href^='#']")].filter(a => !page.getElementById(a.hash.slice(1))).map(a => a.hash);
  const reached = page.querySelector("#rows-trials a[href^='#trial']");
  told.reached = reached ? page.getElementById(reached.hash.slice(1)).closest("tr").textContent : "";
  document.querySelector("pre").textContent = JSON.stringify(told);
}};
</script>"""

# Moves through adaptation by slider and by button, and compares what is shown with the grids that stand on the page.
PLAY = """<!doctype html><title>play</title><iframe width="1200" height="800" style="border:0" srcdoc="{page}"></iframe><pre></pre>
<script>
const frame = document.querySelector("iframe"), later = (time) => new Promise((done) => setTimeout(done, time));
frame.onload = async () => {{
  const page = frame.contentDocument;
  while (page.querySelectorAll(".player").length < 2) await later(20);
  const player = [...page.querySelectorAll(".player")].find(one => one.textContent.includes("glyphs"));
  const slider = player.querySelector("input"), button = player.querySelector("button"), said = player.querySelector("output");
  const views = [...player.querySelectorAll("canvas")], told = {{}};
  const shown = () => views.map(view => view.getAttribute("aria-label"));
  const drawn = () => views.map(view => view.toDataURL());
  const grids = [...page.querySelectorAll("img[data-scene=glyphs]")];
  const part = (image, at) => {{
    const canvas = page.createElement("canvas"), box = JSON.parse(image.dataset.frames)[at].box;
    const [x, y, w, h] = box.map((share, i) => Math.round(share * (i % 2 ? image.naturalHeight : image.naturalWidth)));
    Object.assign(canvas, {{ width: w, height: h }});
    canvas.getContext("2d").drawImage(image, x, y, w, h, 0, 0, w, h);
    return canvas.toDataURL();
  }};
  told.captions = [...player.querySelectorAll(".stage figcaption")].map(caption => caption.textContent);
  told.label = slider.labels[0].textContent.trim();
  told.first = shown();
  slider.value = 3; slider.dispatchEvent(new frame.contentWindow.Event("input"));
  told.moved = shown(); told.said = said.textContent; told.spoken = slider.getAttribute("aria-valuetext");
  told.parts = grids.map((image, i) => part(image, 2 + 3) === drawn()[2 + i]);
  told.stills = [part(grids[0], 0) === drawn()[0], part(grids[0], 1) === drawn()[1]];
  slider.value = slider.max; slider.dispatchEvent(new frame.contentWindow.Event("input"));
  told.ready = button.textContent; button.click(); told.playing = button.textContent;
  await later(1000);
  told.turned = said.textContent;
  button.click(); told.paused = button.textContent;
  await later(2000);
  told.stayed = said.textContent;
  document.querySelector("pre").textContent = JSON.stringify(told);
}};
</script>"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    table = synthetic.frame(
        gain=1.0,
        tasks=4,
        replicates=2,
        metrics=("energy", "recall"),
        status={("maml", 1): "failed"},
        reasons={("maml", 1): "<script>parent.pwned = true</script><img src=x onerror='parent.pwned = true'>" + "unbroken" * 40},
    )
    table["arm"] = table["arm"].replace("scratch", "an-arm-with-a-very-long-unbroken-name-" * 3)
    synthetic.write_samples(folder, table)
    write_report(
        folder,
        frame=table,
        suite=synthetic.suite(),
        ledger=synthetic.ledger(table),
        metric_outputs=synthetic.OUTPUTS,
        provenance=synthetic.provenance(),
        formats=("html",),
    )
    return folder / "report.html"


@pytest.fixture(scope="module")
def used(page, tmp_path_factory):
    """What :data:`USE` tells, and the console."""
    return probed(USE.format(page=html.escape(page.read_text(encoding="utf-8"))), tmp_path_factory.mktemp("used"))


def probed(probe, folder):
    (folder / "probe.html").write_text(probe, encoding="utf-8")
    dom, console = browse(folder / "probe.html", folder)
    return json.loads(html.unescape(re.search(r"<pre>(.*?)</pre>", dom, re.S)[1])), console


def browse(page, tmp_path):
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.parametrize("width", [360, 768, 1200])
def test_the_page_fits_its_window_and_fetches_nothing(page, tmp_path, width):
    seen, console = probed(PROBE.format(width=width, page=html.escape(page.read_text(encoding="utf-8"))), tmp_path)
    assert seen["inner"] == width
    assert seen["scroll"] <= seen["client"]
    assert seen["images"] > 5
    assert seen["broken"] == 0
    assert seen["requests"] == []
    assert seen["styled"] == "solid"
    assert not seen["pwned"]
    assert console == []


def test_the_page_itself_loads_without_a_console_message(page, tmp_path):
    dom, console = browse(page, tmp_path)
    assert "Skip to the answer" in dom
    assert console == []


def test_a_heading_sorts_up_then_down_then_as_it_was(used):
    told, console = used
    numbers = [float(text.replace("−", "-").rstrip("‡")) for text in told["ascending"]["values"]]
    assert numbers == sorted(numbers)
    assert numbers != [float(text.replace("−", "-").rstrip("‡")) for text in told["given"]["values"]]
    assert told["descending"]["values"] == told["ascending"]["values"][::-1]
    assert told["again"] == told["given"]
    assert [told[step]["sort"] for step in ("given", "ascending", "descending", "again")] == [None, "ascending", "descending", None]
    assert console == []


def test_only_the_column_that_sorts_says_so(used):
    told, _ = used
    assert told["byName"]["sort"] == "ascending"
    assert told["byName"]["others"] == 1
    assert told["byName"]["names"] == sorted(told["given"]["names"])


def test_a_filter_keeps_the_rows_that_hold_all_its_words(used):
    told, _ = used
    assert told["label"] == "Filter rows"
    rows = told["byName"]["names"]
    kept = told["filter"]["reptile"]
    assert kept["names"] == ["reptile", "reptile + outer-clip"]
    assert kept["said"] == f"2 of {len(rows)} rows"
    assert told["filter"]["REPTILE clip"]["names"] == ["reptile + outer-clip"]
    assert told["filter"]["no such arm"] == {"names": [], "said": f"0 of {len(rows)} rows"}
    assert told["filter"][""] == {"names": rows, "said": ""}


def test_samples_adapt_by_slider_and_by_button(page, tmp_path):
    told, console = probed(PLAY.format(page=html.escape(page.read_text(encoding="utf-8"))), tmp_path)
    assert told["captions"][:4] == ["support", "query", "finetune", "reptile"]  # those of the question first
    assert told["label"] == "Adaptation"
    assert told["first"][2:4] == ["finetune, step 0", "reptile, step 0"]
    assert told["moved"][:3] == ["support", "query", "finetune, step 5"]
    assert (told["said"], told["spoken"]) == ("step 5", "step 5")
    assert told["parts"]
    assert all(told["parts"] + told["stills"])
    assert [told[state] for state in ("ready", "playing", "paused")] == ["Play", "Pause", "Play"]
    assert told["turned"] == told["stayed"] == "step 0"  # after the last step comes the first
    assert console == []


def test_nothing_moves_by_itself_for_who_asked_for_less_motion(page, tmp_path):
    command = [CHROMIUM, *FLAGS, "--force-prefers-reduced-motion", f"--user-data-dir={tmp_path / 'profile'}", page.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    players = re.findall(r'<figure class="player">.*?</label>', dom, re.S)
    assert len(players) == 2
    assert all("<input" in player and ">Play</button>" not in player for player in players)


def test_every_link_arrives_and_a_failed_trial_leads_to_its_error(used):
    told, _ = used
    assert told["missing"] == []
    assert "onerror" in told["reached"]  # the text of the error, which is no element
