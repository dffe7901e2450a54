"""Models, probes, preprocessing, names. See tests/mutants.py."""

# fmt: off
MUTANTS: list[tuple[str, str, list[tuple[str, str]]]] = [
    ("tests/models/test_joint.py::test_the_view_shares_every_module_and_the_model_holds_no_view",
     "fusionzoo/models/two_stream.py", [
        ("                setattr(view, name, value.copy())", "                pass"),
    ]),
    ("tests/models/test_joint.py::test_the_task_of_the_data_decides_what_is_dissected",
     "fusionzoo/dissect/conditions.py", [
        ("        model = plain = chosen", "        plain = chosen"),
    ]),
    ("tests/models/test_pool.py::test_logits_are_a_linear_map_of_the_means_of_all_stages",
     "fusionzoo/models/decoders.py", [
        ("features[i].mean((2, 3), keepdim=True)", "features[i].amax((2, 3), keepdim=True)"),
    ]),
    ("tests/models/test_models.py::test_interaction_decides_what_the_streams_carry_on_with",
     "fusionzoo/models/two_stream.py", [
        ('if self.interaction == "exchange":', 'if self.interaction == "never":'),
        ('elif self.interaction == "inject":', 'elif self.interaction == "none":'),
        ("r, d = fused.rgb, fused.x", "r, d = fused.x, fused.rgb"),
    ]),
    ("tests/models/test_two_stream.py::test_concat_is_two_encoders_a_block_a_level_decoder_and_head",
     "fusionzoo/models/two_stream.py", [
        ("self.rgb_encoder, i, fused.fused))", "self.rgb_encoder, i, r))"),
        ("r, d = stage.rgb(r), stage.x(d)", "d, r = stage.rgb(r), stage.x(d)"),
    ]),
    ("tests/models/test_two_stream.py::test_a_loss_is_the_mean_over_the_levels_that_have_it",
     "fusionzoo/models/two_stream.py", [
        ("sum(of[1:], of[0]) / len(of)", "sum(of[1:], of[0])"),
    ]),
    ("tests/models/test_two_stream.py::test_every_block_knows_its_level_and_the_depth",
     "fusionzoo/models/two_stream.py", [
        ("level=i, depth=self.depth", "level=1, depth=self.depth"),
    ]),
    ("tests/models/test_models.py::test_late_is_the_mean_of_its_streams", "fusionzoo/models/baselines.py", [
        ("(first + others[0]) / 2", "(first + others[0])"),
    ]),
    ("tests/models/test_two_stream.py::test_an_encoder_of_both_images_keeps_its_colours",
     "fusionzoo/models/initial.py", [
        ("            if joined:", "            if False:"),
    ]),
    ("tests/models/test_two_stream.py::test_baselines_by_hand", "fusionzoo/models/baselines.py", [
        ('else {"rgb": rgb, "x": x}', 'else {"rgb": 0 * rgb, "x": x}'),
        ("torch.cat([rgb, x], dim=1)", "torch.cat([rgb, 0 * x], dim=1)"),
    ]),
    ("tests/models/test_two_stream.py::test_concat_is_two_encoders_a_block_a_level_decoder_and_head",
     "fusionzoo/models/decoders.py", [
        ('"fpn": _Kind("FPNDecoder", (2, 3, 4, 5),', '"fpn": _Kind("FPNDecoder", (3, 4, 5),'),
        ('"SegformerDecoder", (2, 3, 4, 5),', '"SegformerDecoder", (1, 2, 3, 4, 5),'),
    ]),
    ("tests/models/test_models.py::test_a_missing_modality_is_its_mean", "fusionzoo/models/base.py", [
        ("rgb = x.new_zeros(x.shape[0], 3, *x.shape[-2:])", "rgb = x.new_ones(x.shape[0], 3, *x.shape[-2:])"),
    ]),
    ("tests/models/test_two_stream.py::test_an_x_encoder_from_rgb_weights_answers_grey_alike",
     "fusionzoo/models/initial.py", [
        ("source = source.sum(dim=1, keepdim=True).expand_as(target) / target.shape[1]",
         "source = source.mean(dim=1, keepdim=True).expand_as(target)"),
    ]),
    ("tests/models/test_encoders.py::test_stage_by_stage_equals_the_own_forward_pass", "fusionzoo/models/families.py", [
        ('_spans("features", [0, *(i + 1 for', '_spans("features", [0, *(i for'),
        ('else "act1"], ["maxpool", "layer1"], *rest]', 'else "act1"], ["layer1"], *rest]'),
        ("return F.relu(x) if 2 <= number", "return F.relu(x) if 3 <= number"),
        ('if hasattr(inner, n)]', 'if hasattr(inner, n) and n != "act1"]'),
    ]),
    ("tests/models/test_classes.py::test_rows_of_equal_names_are_taken_over", "fusionzoo/models/classes.py", [
        ("grids = [torch.meshgrid(*[torch.tensor(list(at))]", "grids = [torch.meshgrid(*[torch.tensor(sorted(at))]"),
        ("name.casefold()", "name"),
    ]),
    ("tests/train/test_freeze.py::test_layers_are_met_from_the_image_on", "fusionzoo/models/parts.py", [
        ("for stage in stage_modules(encoder) or []", "for stage in []"),
        ("all(p.ndim < 2 for p in parameters)", "all(p.ndim < 1 for p in parameters)"),
    ]),
    ("tests/probes/test_tape.py::test_edits_run_outermost_first", "fusionzoo/probes/tape.py", [
        ('for edit in self.edits:\n            value = edit(value)',
         'for edit in reversed(self.edits):\n            value = edit(value)'),
    ]),
    ("tests/probes/test_tape.py::test_values_are_those_of_a_plain_loop", "fusionzoo/probes/tape.py", [
        ("kept = kept.clone() if self.clone else kept", "kept = kept"),
        ("kept = value.detach() if self.detach else value", "kept = value"),
    ]),
    ("tests/probes/test_tape.py::test_nested_contexts_undo_only_their_own", "fusionzoo/probes/tape.py", [
        ("tap.listeners = [h for h in tap.listeners if h is not hook]", "tap.listeners = []"),
    ]),
    ("tests/probes/test_tape.py::test_a_listener_that_writes_is_refused", "fusionzoo/probes/tape.py", [
        ("if watched and value._version != version:", "if False:"),
    ]),
    ("tests/probes/test_intervene.py::test_swap", "fusionzoo/probes/intervene.py", [
        ("return value.roll(1, dims=0)", "return value.roll(2, dims=0)"),
    ]),
    ("tests/probes/test_intervene.py::test_only_changes_its_channels", "fusionzoo/probes/intervene.py", [
        ("return value.index_copy(1, index, change.function(value).index_select(1, index))",
         "return change.function(value)"),
    ]),
    ("tests/probes/test_intervene.py::test_projecting_out_leaves_nothing_along_the_direction",
     "fusionzoo/probes/intervene.py", [
        ("value - shift.reshape(column), own)", "value, own)"),
        ("own, step, shift = (v.to(value.device, value.dtype) for v in (w, a / scale, centre))",
         "own, step, shift = (v.to(value.device, value.dtype) for v in (w, a / a.norm(), centre))"),
    ]),
    ("tests/probes/test_intervene.py::test_mean_ablate_by_its_own_mean", "fusionzoo/probes/intervene.py", [
        ("axes = [axis for axis in range(value.ndim) if axis != 1]",
         "axes = [axis for axis in range(value.ndim) if axis > 1]"),
    ]),
    ("tests/probes/test_point.py::test_a_copy_made_inside_a_context_listens_to_nobody", "fusionzoo/probes/point.py", [
        ('if key != "tap"', "if key"),
    ]),
    ("tests/test_preprocess.py::test_rgb_equals_torchvision", "fusionzoo/preprocess.py", [
        ("scaled = rgb.float() / 255", "scaled = rgb.float() / 256"),
    ]),
    ("tests/test_preprocess.py::test_depth_by_hand", "fusionzoo/preprocess.py", [
        ("return out.masked_fill(missing, 0.0)", "return out"),
        ("(raw - _column(self.x_mean, raw)) / _column(self.x_std, raw)",
         "raw / _column(self.x_std, raw) - _column(self.x_mean, raw)"),
    ]),
    ("tests/test_preprocess.py::test_inverse_depth_by_hand", "fusionzoo/preprocess.py", [
        ("1 / own.clamp(min=1e-6)", "2 / own.clamp(min=1e-6)"),
    ]),
    ("tests/test_unlike.py::test_holes_from_a_quarter_of_what_was_never_missing", "fusionzoo/preprocess.py", [
        ("if share <= most + (1 - most) / 4:", "if share <= most + (1 - most) / 2:"),
    ]),
    ("tests/test_unlike.py::test_range", "fusionzoo/preprocess.py", [
        ("(values > 4 * saw[4])", "(values > 4.2 * saw[4])"),
        ("max(saw[4] * 1.05, saw[2] * 1.5)", "max(saw[4] * 1.1, saw[2] * 1.5)"),
        (".mean()) > 0.05", ".mean()) > 0.1"),
    ]),
    ("tests/test_registry.py::test_patterns", "fusionzoo/registry.py", [
        ("hit(n, wanted) and not hit(n, refused)", "hit(n, wanted)"),
    ]),
    ("tests/test_registry.py::test_a_duplicate_raises_and_names_the_owner", "fusionzoo/registry.py", [
        ('if name in self._filled():\n            raise ValueError', 'if False:\n            raise ValueError'),
    ]),
    ("tests/test_registry.py::test_order_is_natural", "fusionzoo/registry.py", [
        ('(0, int(p), "") if p.isdigit() else', "(0, 0, p) if p.isdigit() else"),
    ]),
    ("tests/models/test_labels.py::test_as_the_whole_computation", "fusionzoo/models/labels.py", [
        ("(source / size[0]) - 0.5", "(source / size[0])"),
        ("return (high >= bar)", "return (low >= bar)"),
    ]),
    ("tests/models/test_model_args.py::test_a_class_that_names_its_architecture_keeps_the_name",
     "fusionzoo/models/base.py", [
        ("model.architecture = name or cls.architecture", "model.architecture = name"),
    ]),
    ("tests/models/test_model_args.py::test_a_registered_name_stands_above_the_class_s_own",
     "fusionzoo/models/base.py", [
        ("model.architecture = name or cls.architecture", "model.architecture = cls.architecture or name"),
    ]),
    ("tests/models/test_missing.py::test_the_guess_stands_for_x_where_an_image_has_none_and_starts_as_the_mean",
     "fusionzoo/models/missing.py", [
        ("torch.where(absent, ", "torch.where(~absent, "),
    ]),
    ("tests/models/test_missing.py::test_finetune_moves_the_guess_alone", "fusionzoo/models/missing.py", [
        (".requires_grad_(False)", ""),
    ]),
    ("tests/models/test_emsaformer.py::test_the_encoder_is_torchvisions", "fusionzoo/models/published/_swin_v2.py", [
        ("self.moved and side > WINDOW else 0", "self.moved else 0"),
        ("torch.zeros_like(of_k)", "of_k"),
        ("bias = 16 * rearrange", "bias = 8 * rearrange"),
    ]),
    ("tests/models/test_emsaformer.py::test_classes_of_vectors", "fusionzoo/models/published/dveformer.py", [
        ("self.classify(normalize(found, dim=1))", "self.classify(found)"),
        ("self.requires_grad_(not linear_probe)", "self.requires_grad_(True)"),
    ]),
    ("tests/models/test_missing.py::test_classes_that_a_frozen_head_cannot_learn_are_refused",
     "fusionzoo/train/start.py", [
        ("if new and not learns & set(new):", "if False:"),
    ]),
    ("tests/test_preprocess.py::test_depth_in_another_unit_is_refused_in_a_loop_of_ones_own",
     "fusionzoo/preprocess.py", [
        ("                if part.kind in METRIC:", "                if False:"),
    ]),
    ("tests/test_registry.py::test_whoever_has_a_registry_alone_finds_its_entries", "fusionzoo/registry.py", [
        ("return name in self._filled() or", "return name in self._entries or"),
    ]),
    ("tests/models/test_classes.py::test_what_is_frozen_stays_so_and_numbers_keep_their_type",
     "fusionzoo/models/classes.py", [
        ("p.requires_grad_(learns.get(key, p.requires_grad))", "pass"),
        ("return fitted.to(next(model.parameters()).dtype), tuple(", "return fitted, tuple("),
    ]),
]
# fmt: on
