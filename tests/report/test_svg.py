"""Geometry of the plots, read back from the drawing with an XML parser."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from fusionzoo.report import svg

NS = {"s": "http://www.w3.org/2000/svg"}


def parse(drawing: str) -> ET.Element:
    root = ET.fromstring(drawing)
    title, desc = root.find("s:title", NS), root.find("s:desc", NS)
    assert title is not None and desc is not None and title.text and desc.text
    assert root.attrib["aria-labelledby"].split() == [title.attrib["id"], desc.attrib["id"]]
    assert root.attrib["role"] == "img"
    return root


def of_class(root: ET.Element, name: str) -> list[ET.Element]:
    return [e for e in root.iter() if name in e.attrib.get("class", "").split()]


def test_bars_are_as_long_as_their_values() -> None:
    root = parse(
        svg.bars("k", "t", "d", [("a", 50.0, "both"), ("b", 25.0, "x"), ("c", None, "rgb"), ("d", 130.0, "x")])
    )
    lengths = [float(e.attrib["width"]) for e in of_class(root, "fill")]
    full = float(of_class(root, "track")[0].attrib["width"])
    assert lengths == pytest.approx([full / 2, full / 4, 0, full])
    assert [e.text for e in of_class(root, "value")] == ["50.0", "25.0", "-", "130.0"]


def test_lines_put_values_where_the_ticks_say() -> None:
    series = [svg.Series("s", "rgb", [-0.1, None, 0.5, 1.0])]
    root = parse(svg.lines("k", "t", "d", list("1234"), series, high=1.0))
    ticks = {float(e.text or 0): float(e.attrib["y"]) - 4 for e in of_class(root, "tick") if "." in (e.text or "")}
    assert set(ticks) == {0.0, 0.5, 1.0}
    circles = [e for e in of_class(root, "mark") if e.tag.endswith("circle")][1:]  # the first is the legend's
    heights = [float(e.attrib["cy"]) for e in circles]
    assert len(heights) == 3, "a missing value has no sign"
    assert heights[1:] == pytest.approx([ticks[0.5], ticks[1.0]], abs=0.02)
    assert heights[0] == pytest.approx(ticks[0.0] + 0.2 * (ticks[0.0] - ticks[0.5]), abs=0.02), (
        "negative, below the axis"
    )
    tips = [(e.find("s:title", NS).text) for e in circles]  # type: ignore[union-attr]
    assert tips == ["s: -0.10", "s: 0.50", "s: 1.00"]
    strokes = [e for e in of_class(root, "stroke") if e.tag.endswith("line")][1:]
    assert len(strokes) == 2


def test_the_floor_is_a_band_from_zero_to_its_value() -> None:
    root = parse(svg.lines("k", "t", "d", ["1", "2"], [svg.Series("s", "x", [10.0, 20.0])], floor=[5.0, None]))
    (band,) = of_class(root, "band")
    ticks = {
        float(e.text or 0): float(e.attrib["y"]) - 4 for e in of_class(root, "tick") if e.attrib["text-anchor"] == "end"
    }
    top, tall = float(band.attrib["y"]), float(band.attrib["height"])
    assert top == pytest.approx(ticks[5.0], abs=0.02) and top + tall == pytest.approx(ticks[0.0], abs=0.02)


def test_dumbbell_places_each_stream_on_the_scale() -> None:
    rows = [("a", {"rgb": 0.0, "x": 40.0, "fused": 80.0}), ("gone", {"rgb": None, "x": None})]
    root = parse(svg.dumbbell("k", "t", "d", rows, {"rgb": "rgb", "x": "depth", "fused": "fused"}))
    ticks = {float(e.text or 0): float(e.attrib["x"]) for e in of_class(root, "tick") if (e.text or "").isdigit()}
    link = of_class(root, "link")
    assert len(link) == 1
    assert float(link[0].attrib["x1"]) == pytest.approx(ticks[0], abs=0.02)
    assert float(link[0].attrib["x2"]) == pytest.approx(ticks[80], abs=0.02)
    square = [e for e in of_class(root, "x") if e.tag.endswith("rect")][-1]
    middle = float(square.attrib["x"]) + float(square.attrib["width"]) / 2
    assert middle == pytest.approx(ticks[40], abs=0.02)
    assert "absent" in [e.text for e in root.iter()]


def test_heatmap_opacity_grows_with_the_value() -> None:
    panels = [("rgb", ["1", "2"], [[0.0, 30.0], [None, 60.0]]), ("x", ["1"], [[15.0], [60.0]])]
    root = parse(svg.heatmap("k", "t", "d", ["a", "b"], panels))
    cells = {e.find("s:title", NS).text: float(e.attrib["fill-opacity"]) for e in of_class(root, "heat") if len(e)}  # type: ignore[union-attr]
    assert cells == pytest.approx(
        {
            "a, rgb, 1: 0.0": 0.04,
            "a, rgb, 2: 30.0": 0.52,
            "b, rgb, 2: 60.0": 1.0,
            "a, x, 1: 15.0": 0.28,
            "b, x, 1: 60.0": 1.0,
        },
        abs=1e-2,
    )
    assert len(of_class(root, "void")) == 1


@pytest.mark.parametrize(("low", "high"), [(0, 0.93), (0, 47), (-0.3, 1), (0, 0), (2, 2.003), (0, 1e-7)])
def test_ticks_cover_the_range_in_few_round_steps(low: float, high: float) -> None:
    ticks = svg.nice_ticks(low, high)
    assert ticks[0] <= low and ticks[-1] >= high - 1e-12 and 2 <= len(ticks) <= 8
    steps = {f"{b - a:.3g}" for a, b in zip(ticks, ticks[1:], strict=False)}
    assert len(steps) == 1


def test_everything_is_escaped() -> None:
    evil = '</text><script>alert("1")</script>&\x00\x08'
    for drawing in (
        svg.bars("k", evil, evil, [(evil, 1.0, "x")]),
        svg.lines("k", evil, evil, [evil], [svg.Series(evil, "x", [1.0])], x_label=evil),
        svg.dumbbell("k", evil, evil, [(evil, {"x": 1.0})], {"x": evil}),
        svg.heatmap("k", evil, evil, [evil], [(evil, [evil], [[1.0]])]),
    ):
        root = parse(drawing)
        assert not root.findall(".//s:script", NS) and "<script" not in drawing


def test_empty_plots_are_still_drawings() -> None:
    for drawing in (
        svg.bars("k", "t", "d", []),
        svg.lines("k", "t", "d", [], []),
        svg.lines("k", "t", "d", ["1"], [svg.Series("s", "x", [None])], floor=[None]),
        svg.dumbbell("k", "t", "d", [], {}),
        svg.heatmap("k", "t", "d", [], []),
    ):
        parse(drawing)
