"""Each modality has one colour on the whole page: the sign beside its name, and what is drawn from its values.

Colours are resolved as a browser would: from the class of the drawn element through the page's style sheet.
"""

from __future__ import annotations

import colorsys
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from typing import Any

import pytest

from fusionzoo.report import html as page
from fusionzoo.report import style

SVG = "{http://www.w3.org/2000/svg}"


def drawing(text: str, key: str) -> ET.Element:
    """The plot of that key."""
    (found,) = [m for m in re.findall(r"<svg.*?</svg>", text, re.S) if f'id="{key}-t"' in m]
    return ET.fromstring(found)


def variable(text: str, kind: str, prop: str) -> str:
    """The colour variable that the style sheet gives to an element of class `kind`; the last rule that fits wins."""
    classes, found = set(kind.split()), ""
    sheet = re.sub(r"@media[^{]*\{", "", text[text.index("<style>") : text.index("</style>")])
    for selectors, rules in re.findall(r"([^{}]+)\{([^{}]*)\}", sheet):
        for selector in selectors.split(","):
            wanted = [c for c in selector.strip().split(".") if c]
            if selector.strip().startswith(".") and set(wanted) <= classes:
                found = dict(r.split(":", 1) for r in rules.split(";") if ":" in r).get(prop, found)
    return re.fullmatch(r"var\(--(\w+)\)", found).group(1)  # type: ignore[union-attr]


def filled(text: str, element: ET.Element) -> str:
    return variable(text, element.attrib["class"], "fill")


def bars(text: str, key: str) -> dict[str, str]:
    """Colour of each horizontal bar by the value printed beside it."""
    root = drawing(text, key)
    fills = [e for e in root.iter(f"{SVG}rect") if e.attrib["class"].startswith("fill")]
    values = [e for e in root.iter(f"{SVG}text") if e.attrib.get("class") == "value"]
    assert len(fills) == len(values)
    at = {float(v.attrib["y"]): (v.text or "").split()[0] for v in values}
    return {at[min(at, key=lambda y: abs(y - float(f.attrib["y"]) - 12))]: filled(text, f) for f in fills}


def hints(root: ET.Element) -> Iterator[tuple[str, str, ET.Element]]:
    """(what it says, the value it says, element) of all that have a hint of their own."""
    for e in root.iter():
        tip = e.find(f"{SVG}title")
        if tip is not None and e is not root and tip.text:
            yield (*tip.text.rsplit(": ", 1), e)  # type: ignore[misc]


def legend(text: str, root: ET.Element) -> dict[str, str]:
    """name -> colour of the sign before it."""
    found, children = {}, list(root)
    for sign, label in zip(children, children[1:], strict=False):
        if sign.attrib.get("class", "").startswith("mark") and sign.find(f"{SVG}title") is None:
            found[label.text or ""] = filled(text, sign)
    return found


def test_the_variables_are_the_stated_colours(example: dict[str, Any]) -> None:
    """Orange for rgb, blue for x, green for fused, in light and in dark."""
    text = page(example)
    for colours in (style.LIGHT, style.DARK):
        assert all(f"--{name}:{value};" in text for name, value in colours.items())
        hue = {}
        for name in ("rgb", "x", "fused"):
            red, green, blue = (int(colours[name][i : i + 2], 16) / 255 for i in (1, 3, 5))
            hue[name] = 360 * colorsys.rgb_to_hls(red, green, blue)[0]
        assert 15 < hue["rgb"] < 45 and 195 < hue["x"] < 225 and 145 < hue["fused"] < 175


def test_a_bar_of_the_segmentation_has_the_colour_of_what_is_left(example: dict[str, Any]) -> None:
    assert bars(page(example), "seg") == {"61.2": "both", "30.1": "x", "40.0": "rgb"}


def test_a_bar_of_the_contribution_has_the_colour_of_its_modality(full: dict[str, Any]) -> None:
    assert bars(page(full), "contribution") == {"33.6": "rgb", "23.7": "x", "-4.9": "both"}


def test_the_streams_of_a_concept(example: dict[str, Any]) -> None:
    text = page(example)
    root = drawing(text, "streams")
    assert legend(text, root) == {"rgb": "rgb", "depth": "x", "fused": "fused"}
    seen, names = 0, {"rgb": "rgb", "depth": "x", "fused": "fused"}
    for said, value, sign in hints(root):
        concept, _, modality = said.rpartition(", ")
        k = example["data"]["class_names"].index(concept)
        stream = names[modality]
        assert float(value) == pytest.approx(100 * example["levels"][4]["concept_iou"][stream][k], abs=0.051)
        assert filled(text, sign) == stream
        seen += 1
    assert seen == 3 * 13 - 1


@pytest.mark.parametrize(
    ("key", "wanted", "value"),
    [
        ("sv", {"rgb-fused": "rgb", "depth-fused": "x"}, lambda level, s: 100 * s(level, "semantic_variance", "value")),
        ("agreement", {"only rgb": "rgb", "only depth": "x", "consistent": "fused"}, None),
    ],
)
def test_the_lines_of_a_modality(full: dict[str, Any], key: str, wanted: dict[str, str], value: Any) -> None:
    text = page(full)
    root = drawing(text, key)
    names = legend(text, root)
    assert {n: names[n] for n in wanted} == wanted
    shown = list(hints(root))
    for name, colour in wanted.items():
        values, signs = zip(*((float(v), sign) for said, v, sign in shown if said == name), strict=True)
        assert {filled(text, sign) for sign in signs} == {colour}
        if key == "agreement":
            kind = {"only rgb": "rgb", "only depth": "x", "consistent": "consistent"}[name]
            assert values == tuple(len(level["agreement"][kind]) for level in full["levels"])
        else:
            pair = {"rgb-fused": "rgb_fused", "depth-fused": "x_fused"}[name]
            stated = [100 * level["semantic_variance"][pair]["value"] for level in full["levels"]]
            assert values == pytest.approx(stated, abs=0.51)
    strokes = {
        variable(text, e.attrib["class"], "stroke") for e in root.iter(f"{SVG}line") if "stroke" in e.attrib["class"]
    }
    assert strokes == set(names.values())


def test_the_shares_of_a_level(full: dict[str, Any]) -> None:
    text = page(full)
    root = drawing(text, "shares")
    wanted = {"rgb alone": "rgb", "shared": "fused", "depth alone": "x"}
    assert legend(text, root) == wanted
    keys = {"rgb alone": "unique_rgb", "shared": "redundant", "depth alone": "unique_x"}
    seen = 0
    for said, value, block in hints(root):
        name, _, level = said.rpartition(", ")
        stated = full["levels"][int(level) - 1]["commonality"]["pix"][keys[name]]["value"]
        assert float(value) == pytest.approx(100 * stated, abs=0.051) and filled(text, block) == wanted[name]
        seen += 1
    assert seen == 15


def test_a_corruption_has_the_colour_of_the_modality_it_damages(full: dict[str, Any]) -> None:
    text = page(full)
    found = {said: filled(text, sign) for said, _, sign in hints(drawing(text, "robust"))}
    assert found == {"missing_rgb": "rgb", "noise_x": "x", "shift_x": "x"}


def test_the_maps_over_levels_stand_under_their_stream(full: dict[str, Any]) -> None:
    names = full["data"]["class_names"]
    streams = {"rgb": "rgb", "depth": "x", "fused": "fused"}
    found = list(hints(drawing(page(full), "map")))
    assert len(found) == 3 * 5 * 13
    for said, value, _ in found:
        concept, stream, level = said.rsplit(", ", 2)
        stated = full["levels"][int(level) - 1]["concept_iou"][streams[stream]][names.index(concept)]
        assert value == "absent" if stated is None else float(value) == pytest.approx(100 * stated, abs=0.051)
    for said, value, _ in hints(drawing(page(full), "trace")):
        level, stream, reach = said.rsplit(", ", 2)
        size = {"alone": 1, "onward": 5}[reach] * int(level.removeprefix("stage "))
        assert float(value) == pytest.approx(size if stream == "rgb" else 0.0), "a gain of depth is no loss"
