"""The demo: what it answers, and the real page in a real browser."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import fusionzoo
from fusionzoo import demo
from fusionzoo.cli import main
from fusionzoo.demo import answer, build, example
from fusionzoo.errors import InputError
from fusionzoo.hub.records import bundled

NAME = "concat_mobilenetv1-025_fpn.planted"


def test_what_is_taken_away_whole_is_left_out(tmp_path: Path) -> None:
    rgb, depth = example(tmp_path)
    model = fusionzoo.from_pretrained(NAME)
    for less, without in (((0.0, 0.0), None), ((0.0, 1.0), "x"), ((1.0, 0.0), "rgb")):
        found, explanation, said = answer(NAME, rgb, depth, *less)
        asked = fusionzoo.predict(model, rgb, depth, without=without)
        assert (found.labels == asked.labels).mean() > 0.999, without
        assert explanation.example.predicted_class.rgb.shape == (120, 160) and said == []
    half = answer(NAME, rgb, depth, 0.0, 0.5)[0].labels
    ends = [answer(NAME, rgb, depth, 0.0, less)[0].labels for less in (0.0, 1.0)]
    assert all(0.02 < (half != end).mean() < 0.9 for end in ends), "half of the depth is neither all nor none of it"


def test_the_example_is_the_scene_in_whole_millimetres(tmp_path: Path) -> None:
    rgb, depth = example(tmp_path)
    scene = fusionzoo.data.Planted("test", n=1)[0]
    assert (np.asarray(Image.open(rgb)) == scene["rgb"].permute(1, 2, 0).numpy()).all()
    assert np.abs(np.asarray(Image.open(depth)) / 1000 - scene["x"][0].numpy()).max() <= 0.0005 + 1e-6


def test_wrong_input_is_one_line(tmp_path: Path) -> None:
    rgb, depth = example(tmp_path)
    with pytest.raises(InputError, match="give 0 to 1"):
        answer(NAME, rgb, depth, 1.5)
    large = tmp_path / "large.png"
    Image.new("RGB", (2400, 8)).save(large)
    Image.fromarray(np.full((8, 2400), 1000, np.uint16)).save(tmp_path / "d.png")
    with pytest.raises(InputError, match="takes up to 2000"):
        answer(NAME, str(large), str(tmp_path / "d.png"))


def test_without_gradio_the_way_to_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(InputError, match=r"pip install 'fusionzoo\[demo\]'"):
        build()


def test_every_bundled_checkpoint_of_pixels_can_be_chosen() -> None:
    gr = pytest.importorskip("gradio")
    chooser = next(block for block in build().blocks.values() if isinstance(block, gr.Dropdown))
    offered = {name for name, _ in chooser.choices}
    assert set(bundled()) - offered == {"concat_mobilenetv1-025_pool.planted-scenes"} and offered < set(bundled())


def test_a_visitor_gets_one_line_for_what_is_wrong(tmp_path: Path) -> None:
    gr = pytest.importorskip("gradio")
    rgb, depth = example(tmp_path)
    small = str(tmp_path / "small.png")
    Image.fromarray(np.full((50, 60), 1000, np.uint16)).save(small)
    page = build([NAME])
    shown = next(f.fn for f in page.fns.values() if f.api_name == "segment")
    for args, said in (
        ((NAME, None, depth, 0, 0), "Give a picture: rgb"),
        (("hybrid_mobilenetv1-025_fpn.planted", rgb, depth, 0, 0), "not among"),
        ((NAME, depth, rgb, 0, 0), ""),
        ((NAME, rgb, small, 0, 0), r"small\.png: x is 60x50"),
    ):
        with pytest.raises(gr.Error, match=said) as caught:
            shown(*args)
        assert "\n" not in str(caught.value.message) and not caught.value.print_exception
        assert str(tmp_path) not in caught.value.message and "--" not in caught.value.message
    picture, rows, maps, notes = shown(NAME, rgb, depth, 0, 0)
    assert rows[0][0] == "wall" and abs(sum(share for _, share in rows) - 100) < 1 and notes == ""
    assert picture.size[1] >= 120 and maps.size[0] > 300
    picture, rows, maps, notes = shown(NAME, rgb, None, 0, 0)
    assert maps is None and "without x the checkpoint's substitute stands in" in notes and picture.size[1] >= 120
    alone = fusionzoo.predict(NAME, rgb)
    assert rows[0][:2] == [alone.shares()[0][1], round(100 * alone.shares()[0][2], 1)]


@pytest.mark.parametrize(("name", "options", "said"), [
    ("concat_mobilenetv1-025_pool", {}, "says one class of a whole image; the page shows classes of pixels"),
    ("concat_mobilenetv1-025_fpn", {"x_kind": "depth+thermal"}, "takes rgb, depth, thermal; the page is for two"),
])  # fmt: skip
def test_what_the_page_cannot_show_is_refused_before_it_is_served(
    name: str, options: dict[str, str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fusionzoo.demo.build", lambda names: pytest.fail("the page is made"))
    fusionzoo.create_model(name, **options).save_pretrained(tmp_path / "given")
    result = CliRunner().invoke(main, ["demo", str(tmp_path / "given"), "--no-browser"])
    assert result.exit_code == 2 and result.stderr.count("\n") == 1 and said in result.stderr, result.output


def test_both_lines_for_a_space_are_requirements() -> None:
    lines = [line.split("  #")[0].strip() for line in str(demo.__doc__).splitlines() if "fusionzoo[demo]" in line]
    parse = pytest.importorskip("packaging.requirements").Requirement  # pytest brings it
    found = [parse(line) for line in lines]
    assert [(r.name, r.extras, r.url) for r in found] == [
        ("fusionzoo", {"demo"}, "git+https://HOST/OWNER/fusionzoo"),
        ("fusionzoo", {"demo"}, None),
    ]


CHROMIUM = next((p for name in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(name))), None)
DRIVER = """<!doctype html><iframe id="f" src="/demo/" width="1280" height="1600"></iframe><script>
const wait = ms => new Promise(go => setTimeout(go, ms));
const find = async what => { for (;;) {
  const doc = document.getElementById("f").contentDocument, e = doc && doc.querySelector(what);
  if (e) return e; await wait(100); } };
(async () => {
  (await find("#example")).click();
  const first = await find("#maps img"), before = (await find("#classes img")).src;
  const slider = (await find("#less_x input[type=range]"));
  Object.getOwnPropertyDescriptor(slider.constructor.prototype, "value").set.call(slider, 100);
  for (const e of ["input", "change", "pointerup"]) slider.dispatchEvent(new Event(e, {bubbles: true}));
  for (let i = 0; i < 200 && (await find("#classes img")).src === before; i++) await wait(100);
  const doc = document.getElementById("f").contentDocument;
  const elsewhere = document.getElementById("f").contentWindow.performance.getEntriesByType("resource")
    .map(r => r.name).filter(n => !n.startsWith(location.origin) && !n.startsWith("data:") && !n.startsWith("blob:"));
  await fetch("/seen", {method: "POST", body: JSON.stringify({
    text: doc.body.innerText, changed: (await find("#classes img")).src !== before, maps: first.naturalWidth,
    elsewhere: elsewhere})});
})();
</script>"""


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_the_page_answers_in_a_browser(tmp_path: Path) -> None:
    gr = pytest.importorskip("gradio")
    import fastapi
    import uvicorn

    from fusionzoo.demo import launch_options

    seen: dict[str, Any] = {}
    done = threading.Event()
    app = fastapi.FastAPI()

    @app.get("/", response_class=fastapi.responses.HTMLResponse)
    def driver() -> str:
        return DRIVER

    async def take(request: Any) -> fastapi.Response:
        seen.update(json.loads(await request.body()))
        done.set()
        return fastapi.Response()

    app.router.add_route("/seen", take, methods=["POST"])
    app = gr.mount_gradio_app(app, build([NAME]), path="/demo", theme=launch_options()["theme"])
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    threading.Thread(target=server.run, daemon=True).start()
    while not server.started:
        done.wait(0.1)
    port = server.servers[0].sockets[0].getsockname()[1]
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}", "--window-size=1300,1700"]
    browser = subprocess.Popen([str(CHROMIUM), *flags, "--remote-debugging-port=0", f"http://127.0.0.1:{port}/"],
                               stderr=subprocess.DEVNULL)  # fmt: skip
    try:
        assert done.wait(120), "the page gave no answer"
    finally:
        browser.terminate()
        browser.wait(30)
        server.should_exit = True
    assert "wall" in seen["text"] and "take x away" in seen["text"]
    assert seen["maps"] > 300 and seen["changed"], "with all of x taken away the classes are others"
    assert seen["elsewhere"] == [], "the page asks other servers"
