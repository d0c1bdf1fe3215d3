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


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    table = synthetic.frame(
        gain=1.0,
        tasks=4,
        replicates=2,
        metrics=("energy", "fid", "recall"),
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


def browse(page, tmp_path):
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.parametrize("width", [360, 768, 1200])
def test_the_page_fits_its_window_and_fetches_nothing(page, tmp_path, width):
    probe = tmp_path / "probe.html"
    probe.write_text(PROBE.format(width=width, page=html.escape(page.read_text(encoding="utf-8"))), encoding="utf-8")
    dom, console = browse(probe, tmp_path)
    seen = json.loads(html.unescape(re.search(r"<pre>(.*?)</pre>", dom, re.S)[1]))
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
