"""One condition, one meaning: "without x" is the same number wherever it is stated."""

from __future__ import annotations

import pytest

from fusionzoo.dissect import dissect
from fusionzoo.dissect.conditions import POLICIES, Condition
from fusionzoo.dissect.robustness import robustness
from fusionzoo.dissect.trace import trace
from fusionzoo.errors import UnknownNameError
from tests.dissect.test_engine import blurred
from tests.dissect.toy import Toy


@pytest.mark.parametrize("policy", POLICIES)
def test_without_a_modality_is_one_number_in_scores_trace_and_robustness(policy):
    data, options = blurred(9), {"absence": policy, "progress": False}
    scores = dissect(Toy(), data, metrics=["segmentation", "contribution"], batch_size=4, **options).segmentation
    traced = trace(Toy(), data, edits=("mean", "restore"), batch_size=2, **options)
    robust = robustness(Toy(), data, corruptions=["missing_rgb", "missing_x"], batch_size=3, **options)
    emm = robust.failures[0].conditions
    assert scores["both"].miou == traced.clean.miou == robust.clean.miou == emm["none"]
    without = {stream: scores[str(Condition.without(stream))] for stream in ("rgb", "x")}
    for stream, curve in zip(("rgb", "x"), robust.curves, strict=True):
        (row,) = (r for r in traced.rows if r.edit == "absent" and r.absent in ("", stream) and r.stream == stream)
        assert without[stream].miou == traced.absent[stream].miou == row.miou == curve.miou[-1] == emm[stream]
        assert without[stream].iou == traced.absent[stream].iou == curve.iou[-1]
        assert without[stream].drop.miou == row.effect == curve.drop[-1]
        assert without[stream].drop.miou_error == row.effect_error == curve.drop_error[-1]
    assert scores[str(Condition.NEITHER)].miou == emm["both"]
    assert without["x"].miou != scores["both"].miou


def test_policies_change_what_is_measured_everywhere():
    data = blurred(9)
    found = {}
    for policy in ("mean", "permute"):
        curve = robustness(Toy(), data, corruptions=["missing_x"], failures=False, absence=policy, progress=False)
        found[policy] = curve.curves[0].miou[-1], trace(Toy(), data, absence=policy, progress=False).absent["x"].miou
    assert found["mean"] != found["permute"] and all(a == b for a, b in found.values())
    for run in (trace, robustness):
        with pytest.raises(UnknownNameError, match="unknown absence policy 'men'; did you mean 'mean'"):
            run(Toy(), data, absence="men", progress=False)
