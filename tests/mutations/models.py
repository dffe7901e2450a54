"""Models, probes, preprocessing, names. See tests/mutants.py."""

# fmt: off
MUTANTS: list[tuple[str, str, list[tuple[str, str]]]] = [
    ("tests/models/test_models.py::test_interaction_decides_what_the_streams_carry_on_with",
     "fusionzoo/models/two_stream.py", [
        ('if self.interaction == "exchange":', 'if self.interaction == "never":'),
        ('elif self.interaction == "inject":', 'elif self.interaction == "none":'),
        ("r, d = fused.rgb, fused.x", "r, d = fused.x, fused.rgb"),
    ]),
    ("tests/models/test_two_stream.py", "fusionzoo/models/two_stream.py", [
        ("out.append(fused.fused)", "out.append(r)"),
        ("r, d = level.rgb(r), level.x(d)", "d, r = level.rgb(r), level.x(d)"),
        ("/ sum(n in v for v in by_level)", ""),
        ("level=i, depth=self.depth", "level=1, depth=self.depth"),
    ]),
    ("tests/models/test_models.py::test_late_is_the_mean_of_its_streams", "fusionzoo/models/baselines.py", [
        ('(self._run("rgb", rgb) + self._run("x", x)) / 2', '(self._run("rgb", rgb) + self._run("x", x))'),
    ]),
    ("tests/models/test_two_stream.py", "fusionzoo/models/baselines.py", [
        ('out = self._run("rgb", rgb)\n', 'out = self._run("rgb", 0 * rgb)\n'),
        ("torch.cat([rgb, x], dim=1)", "torch.cat([rgb, 0 * x], dim=1)"),
    ]),
    ("tests/models/test_two_stream.py", "fusionzoo/models/decoders.py", [
        ('"fpn": _Kind("fpn", "FPNDecoder", (2, 3, 4, 5),', '"fpn": _Kind("fpn", "FPNDecoder", (3, 4, 5),'),
        ('"SegformerDecoder", (2, 3, 4, 5),', '"SegformerDecoder", (1, 2, 3, 4, 5),'),
    ]),
    ("tests/models/test_models.py::test_a_missing_modality_is_its_mean", "fusionzoo/models/base.py", [
        ("rgb = x.new_zeros(x.shape[0], 3, *x.shape[-2:])", "rgb = x.new_ones(x.shape[0], 3, *x.shape[-2:])"),
    ]),
    ("tests/models/test_two_stream.py", "fusionzoo/models/base.py", [
        ("source = source.sum(dim=1, keepdim=True).expand_as(target) / target.shape[1]",
         "source = source.mean(dim=1, keepdim=True).expand_as(target)"),
    ]),
    ("tests/models/test_models.py::test_stage_by_stage_equals_the_encoders_own_forward", "fusionzoo/models/stages.py", [
        ("ends = [0, *(i + 1 for i in cast(", "ends = [0, *(i for i in cast("),
        ('else "act1"], ["maxpool", "layer1"], *later]', 'else "act1"], ["layer1"], *later]'),
    ]),
    ("tests/probes/test_tape.py", "fusionzoo/probes/tape.py", [
        ('for edit in self.edits:\n            value = edit(value)',
         'for edit in reversed(self.edits):\n            value = edit(value)'),
        ("kept = kept.clone() if self.clone else kept", "kept = kept"),
        ("tap.listeners = [h for h in tap.listeners if h is not hook]", "tap.listeners = []"),
        ("if watched and value._version != version:", "if False:"),
        ("kept = value.detach() if self.detach else value", "kept = value"),
    ]),
    ("tests/probes/test_intervene.py", "fusionzoo/probes/intervene.py", [
        ("return value.roll(1, dims=0)", "return value.roll(2, dims=0)"),
        ("return value.index_copy(1, index, change.function(value).index_select(1, index))",
         "return change.function(value)"),
        ("value - shift.reshape(column), own)", "value, own)"),
        ("axes = [axis for axis in range(value.ndim) if axis != 1]",
         "axes = [axis for axis in range(value.ndim) if axis > 1]"),
        ("own, step, shift = (v.to(value.device, value.dtype) for v in (w, a / scale, centre))",
         "own, step, shift = (v.to(value.device, value.dtype) for v in (w, a / a.norm(), centre))"),
    ]),
    ("tests/probes/test_point.py", "fusionzoo/probes/point.py", [
        ('if key != "tap"', "if key"),
    ]),
    ("tests/test_preprocess.py", "fusionzoo/preprocess.py", [
        ("scaled = rgb.float() / 255", "scaled = rgb.float() / 256"),
        ("return out.masked_fill(missing, 0.0)", "return out"),
        ("1 / raw.clamp(min=1e-6)", "2 / raw.clamp(min=1e-6)"),
        ("(raw - _column(self.x_mean, raw)) / _column(self.x_std, raw)",
         "raw / _column(self.x_std, raw) - _column(self.x_mean, raw)"),
    ]),
    ("tests/test_unlike.py", "fusionzoo/preprocess.py", [
        ("if share <= most + (1 - most) / 4:", "if share <= most + (1 - most) / 2:"),
        ("(values > 4 * saw[4])", "(values > 4.2 * saw[4])"),
        ("max(saw[4] * 1.05, saw[2] * 1.5)", "max(saw[4] * 1.1, saw[2] * 1.5)"),
        (".mean()) > 0.05", ".mean()) > 0.1"),
    ]),
    ("tests/test_registry.py", "fusionzoo/registry.py", [
        ("hit(n, wanted) and not hit(n, refused)", "hit(n, wanted)"),
        ('if name in self._entries:\n            raise ValueError', 'if False:\n            raise ValueError'),
        ('(0, int(p), "") if p.isdigit() else', "(0, 0, p) if p.isdigit() else"),
    ]),
    ("tests/models/test_labels.py", "fusionzoo/models/labels.py", [
        ("(source / size[0]) - 0.5", "(source / size[0])"),
        ("return (high >= bar)", "return (low >= bar)"),
    ]),
]
# fmt: on
