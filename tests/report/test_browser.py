"""The page in a real browser: no sideways overflow on a phone, no request. Skipped where there is no Chromium."""

from __future__ import annotations

import html
import http.server
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from fusionzoo.dissect.results import Checkpoint, Dissection, Evolution
from fusionzoo.report import compared, evolution
from fusionzoo.report import html as page
from tests.report.conftest import typed
from tests.report.test_gallery import example as pictured
from tests.report.test_inside import looked_into

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
FLAGS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
 --disable-component-update --disable-sync --hide-scrollbars --virtual-time-budget=3000""".split()

# The page runs no script, so a wrapper holds it in a frame of a phone's width and measures from outside.
WRAPPER = """<!doctype html><body style="margin:0">
<iframe id="f" width="{width}" height="800" style="border:0" srcdoc="{page}"></iframe>
<script>
document.getElementById("f").onload = function () {{
  const doc = this.contentDocument, wide = [];
  doc.querySelectorAll("details").forEach(d => d.open = true);
  for (const e of doc.body.querySelectorAll("*"))
    if (!e.closest(".scroll > *") && e.getBoundingClientRect().right > {width} + 0.5) wide.push(e.tagName);
  const out = document.createElement("pre");
  out.id = "out";
  out.textContent = JSON.stringify({{
    scroll: doc.scrollingElement.scrollWidth, inner: this.contentWindow.innerWidth, wide: wide,
    height: doc.scrollingElement.scrollHeight,
    font: Math.min(...[...doc.querySelectorAll("svg text")].map(t => t.getBoundingClientRect().height)),
    requests: this.contentWindow.performance.getEntriesByType("resource").map(r => r.name)
  }});
  document.body.append(out);
}};
</script>"""


def measure(text: str, tmp_path: Path, width: int) -> dict[str, Any]:
    assert CHROMIUM is not None
    wrapper = tmp_path / "wrapper.html"
    wrapper.write_text(WRAPPER.format(width=width, page=html.escape(text, quote=True)), encoding="utf-8")
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", wrapper.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    found = re.search(r'<pre id="out">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, (done.returncode, done.stderr[-500:])
    result: dict[str, Any] = json.loads(html.unescape(found.group(1)))
    return result


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_overflows_and_nothing_is_fetched(
    full: dict[str, Any], checks: list[dict[str, Any]], findings: list[str], tmp_path: Path, width: int
) -> None:
    name = "a_class_with_a_name_that_has_no_space_to_break_the_line_at"
    full["data"]["class_names"][0] = full["levels"][0]["agreement"]["consistent"][0] = name
    full["effects"]["robustness"]["curves"][0]["corruption"] = name
    findings.append("https://example.org/" + "long" * 40)
    seen = measure(page(full, checks, findings), tmp_path, width)
    assert seen["inner"] == width
    assert seen["wide"] == [] and seen["scroll"] == width, seen
    assert seen["requests"] == []
    assert seen["font"] >= 10, "plot labels stay readable"


def test_the_page_of_a_training_fits_a_phone(full: dict[str, Any], tmp_path: Path) -> None:
    d = Dissection.from_dict(full)
    rows = [Checkpoint(f"checkpoint-{i}", 1000 * i, None, d.results) for i in range(12)]
    seen = measure(evolution.html(Evolution(d.model, d.data, d.protocol, rows, d.stages).to_dict()), tmp_path, 390)
    assert seen["wide"] == [] and seen["scroll"] == 390 and seen["requests"] == [], seen
    assert seen["font"] >= 10


LONG = "a_name_that_has_no_space_to_break_the_line_at_and_goes_on_and_on"


@pytest.mark.parametrize("width", [390, 1280])
def test_pictures_fit_and_come_from_nowhere_else(full: dict[str, Any], tmp_path: Path, width: int) -> None:
    names = [LONG, "poster", "rug"]
    shown = [looked_into("a"), pictured(LONG, (120, 160), class_names=names, modalities=("rgb", LONG))]
    seen = measure(page(full, None, (), examples=shown), tmp_path, width)
    assert seen["wide"] == [] and seen["scroll"] == width and seen["requests"] == [], seen


@pytest.mark.parametrize("width", [390, 1280])
def test_a_comparison_fits(full: dict[str, Any], tmp_path: Path, width: int) -> None:
    shown = [pictured("a", (120, 160)), pictured("b", (120, 160))]
    rows = [compared.Compared(name, typed(full), shown) for name in ("one", LONG, "three")]
    seen = measure(compared.html([*rows, compared.Compared("four", typed(full))]), tmp_path, width)
    assert seen["wide"] == [] and seen["scroll"] == width and seen["requests"] == [], seen


class Counter(http.server.BaseHTTPRequestHandler):
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_error(404)

    def log_message(self, format: str, *args: object) -> None:
        """Keeps the test's output clean."""


@pytest.fixture
def server() -> Iterator[str]:
    """A server on this machine that remembers what it is asked for."""
    Counter.asked.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Counter) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_address[1]}"
        httpd.shutdown()


def test_the_measurement_sees_overflow_and_requests(example: dict[str, Any], tmp_path: Path, server: str) -> None:
    broken = page(example).replace("<main>", f'<main><div style="width:600px">x</div><img src="{server}/a.png" alt="">')
    broken = re.sub(r"<meta http-equiv[^>]*>", "", broken)
    seen = measure(broken, tmp_path, 390)
    assert seen["scroll"] > 390 and seen["wide"]
    assert seen["requests"] == [f"{server}/a.png"]
    assert Counter.asked == ["/a.png"]


def test_the_policy_stops_a_request(example: dict[str, Any], tmp_path: Path, server: str) -> None:
    sneaky = page(example).replace(
        "<main>", f'<main><img src="{server}/a.png" alt=""><script src="{server}/s"></script>'
    )
    measure(sneaky, tmp_path, 390)
    assert Counter.asked == []
