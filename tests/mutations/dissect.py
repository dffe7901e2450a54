"""The dissection and what it concludes. See tests/mutants.py."""

# fmt: off
MUTANTS: list[tuple[str, str, list[tuple[str, str]]]] = [
    ("tests/dissect/test_classification.py::test_a_type_that_colour_tells_needs_no_depth",
     "fusionzoo/dissect/measures/scores.py", [
        ("return recall_from_confusion if task", "return iou_from_confusion if task"),
    ]),
    ("tests/dissect/test_saliency.py::test_scores_under_each_condition", "fusionzoo/models/labels.py", [
        ("return scores.softmax(1)[:, number]", "return scores.sigmoid()[:, number]"),
    ]),
    ("tests/metrics/concepts/test_specificity_limits.py::test_a_stream_encodes_from_two_standard_errors",
     "fusionzoo/metrics/concepts/specificity.py", [
        ("ERRORS = 2.0", "ERRORS = 2.2"),
        ("ERRORS = 2.0", "ERRORS = 1.8"),
    ]),
    ("tests/metrics/concepts/test_specificity_limits.py::test_a_stream_encodes_from_five_points_above_chance",
     "fusionzoo/metrics/concepts/specificity.py", [
        ("LEAST = 0.05", "LEAST = 0.06"),
        ("LEAST = 0.05", "LEAST = 0.04"),
    ]),
    ("tests/metrics/concepts/test_specificity_limits.py::test_specific_is_less_than_half_of_the_gain",
     "fusionzoo/metrics/concepts/specificity.py", [
        ("SPECIFIC = 0.5", "SPECIFIC = 0.55"),
        ("SPECIFIC = 0.5", "SPECIFIC = 0.45"),
    ]),
    ("tests/metrics/concepts/test_specificity_limits.py::test_noise_counts_in_place_of_the_error_where_it_is_larger",
     "fusionzoo/metrics/concepts/specificity.py", [
        ("torch.maximum(ERRORS * error[0], torch.maximum(*noise))", "torch.maximum(ERRORS * error[0], noise[0])"),
    ]),
    ("tests/metrics/concepts/test_specificity_limits.py::test_the_mean_noise_of_all_concepts_counts_where_it_is_larger",
     "fusionzoo/metrics/concepts/specificity.py", [
        ("return torch.maximum(floor.abs(), floor.abs().nanmean())", "return floor.abs()"),
    ]),
    ("tests/metrics/concepts/test_specificity_limits.py::test_the_fusion_gains_and_loses_from_five_points_against_the_better_stream",
     "fusionzoo/metrics/concepts/specificity.py", [
        ("return fused - torch.maximum(rgb, x)", "return fused - rgb"),
    ]),
    ("tests/dissect/test_exchange.py::test_a_stream_weighs_its_own_value_first",
     "fusionzoo/dissect/measures/setup.py", [
        ('cls(probe.sums_to_one, probe.modality != "x")', "cls(probe.sums_to_one, True)"),
        ('two = axis == "2" or', 'two = axis in ("2", "c") or'),
    ]),
    ("tests/dissect/test_exchange.py::test_the_threshold_is_the_blocks_own", "fusionzoo/fusion/token_exchange.py", [
        ("high=1.0, replaced_below=threshold", "high=1.0, replaced_below=0.02"),
    ]),
    ("tests/dissect/test_plan.py::test_split_is_fair_and_keeps_neighbours_together", "fusionzoo/dissect/split.py", [
        ('return ("half0", "held", "half1", "held")[index // self.block % 4]',
         'return ("half0", "held", "half1", "held")[index % 4]'),
    ]),
    ("tests/dissect/test_absence.py::test_noise_is_each_images_own", "fusionzoo/dissect/conditions.py", [
        ("(seed * 2 + min(stream, 1)) * 1_000_003 + place +", "seed * 1_000_003 +"),
    ]),
    ("tests/dissect/test_absence.py::test_blur_is_three_box_blurs", "fusionzoo/dissect/conditions.py", [
        ("for _ in range(3):", "for _ in range(2):"),
    ]),
    ("tests/dissect/test_finding_limits.py::test_a_modality_is_used_from_three_errors_and_half_a_point",
     "fusionzoo/dissect/words.py", [
        ("ERRORS = 3.0", "ERRORS = 2.8"),
        ("LEAST = 0.005", "LEAST = 0.006"),
        ("LEAST = 0.005", "LEAST = 0.004"),
    ]),
    ("tests/dissect/test_finding_limits.py::test_a_class_that_is_lost_without_rgb",
     "fusionzoo/dissect/findings/classes.py", [
        ("LOST, SURELY = 0.8, 0.5", "LOST, SURELY = 0.7, 0.5"),
        ("LOST, SURELY = 0.8, 0.5", "LOST, SURELY = 0.8, 0.0"),
    ]),
    ("tests/dissect/test_finding_limits.py::test_a_class_that_is_lost_without_rgb", "fusionzoo/dissect/words.py", [
        ("RECOGNISED = 0.4", "RECOGNISED = 0.3"),
    ]),
    ("tests/dissect/test_finding_limits.py::test_no_use_is_claimed_where_three_points_would_have_been_seen",
     "fusionzoo/dissect/findings/use.py", [
        ("TELLING = 0.03", "TELLING = 0.04"),
    ]),
    ("tests/dissect/test_findings.py::test_a_claim_is_stated_once_by_its_strongest_evidence",
     "fusionzoo/dissect/words.py", [
        ("order.index(finding.evidence) < order", "order.index(finding.evidence) > order"),
    ]),
    ("tests/dissect/test_finding_limits.py::test_streams_clearly_differ_from_twice_the_floor",
     "fusionzoo/dissect/findings/stages.py", [
        ("CLEARLY = 2.0", "CLEARLY = 1.9"),
    ]),
    ("tests/dissect/test_finding_limits.py::test_only_one_stream_encodes_a_concept",
     "fusionzoo/dissect/findings/stages.py", [
        ("ONLY = 3.0", "ONLY = 2.8"),
        ("LEARNT = 0.1", "LEARNT = 0.09"),
    ]),
    ("tests/dissect/test_finding_limits.py::test_a_probe_is_saturated_from_half_of_its_values",
     "fusionzoo/dissect/words.py", [
        ("SATURATED = 0.5", "SATURATED = 0.6"),
    ]),
    ("tests/dissect/test_findings.py::test_redundancy", "fusionzoo/dissect/findings/use.py", [
        ('"help each other (synergy)" if value > 0', '"help each other (synergy)" if value < 0'),
    ]),
    ("tests/dissect/test_information.py::test_is_that_of_all_positions_and_its_errors_leave_out_groups_of_images",
     "fusionzoo/dissect/measures/information.py", [
        ("there = valid[mine]", "there = torch.ones_like(valid[mine])"),
        ("kept.covariance(about, (0, 1, 2)) + torch.outer(mean, mean))", "kept.covariance(about, (0, 1, 2)))"),
    ]),
    ("tests/dissect/test_information.py::test_what_varies_in_one_group_of_images_alone_varies_without_it_no_more",
     "fusionzoo/dissect/measures/information.py", [
        ("<= RANK * varies", "<= -1.0 * varies"),
    ]),
    ("tests/dissect/test_field.py::test_of_a_stack_of_convolutions_it_is_the_closed_form",
     "fusionzoo/dissect/attribution/extent.py", [
        ("first = span[0] * stride - padding\n", "first = span[0] - padding\n"),
        ("padding + dilation * (kernel - 1)", "padding + kernel - 1"),
    ]),
    ("tests/dissect/test_field.py::test_box_filters_have_the_radius_of_a_sum_of_uniforms",
     "fusionzoo/dissect/attribution/field.py", [
        (".square().sum((0, 1)).cpu()", ".abs().sum((0, 1)).cpu()"),
        ("HELD = 0.95", "HELD = 0.9"),
    ]),
    ("tests/dissect/test_attribution.py::test_the_midpoint_rule_errs_with_the_square_of_the_step",
     "fusionzoo/dissect/attribution/gradients.py", [
        ("[(i + 0.5) / steps", "[(i + 1) / steps"),
    ]),
    ("tests/dissect/test_attribution.py::test_occlusion_of_overlapping_windows_by_hand",
     "fusionzoo/dissect/attribution/occlusion.py", [
        ("return self.rgb + self.x - self.both", "return self.both - self.rgb - self.x"),
        ("total / count", "total"),
    ]),
    ("tests/dissect/test_effects.py::test_signal_needs_three_errors", "fusionzoo/dissect/words.py", [
        ("ERRORS = 3.0", "ERRORS = 2.5"),
    ]),
    ("tests/probes/test_reuse.py::test_an_edit_runs_what_comes_after_it_and_nothing_else",
     "fusionzoo/probes/reuse.py", [
        ("return alike and torch.equal(other, value)", "return alike"),
    ]),
    ("tests/probes/test_reuse.py::"
     "test_a_two_stream_model_runs_the_later_stages_of_one_stream_the_blocks_and_the_decoder",
     "fusionzoo/probes/reuse.py", [
        ("self._closed = not several and module not in self._open", "self._closed = True"),
    ]),
    ("tests/probes/test_reuse.py::test_what_is_written_in_place_or_called_twice", "fusionzoo/probes/reuse.py", [
        ("return self.value._version == self.version", "return True"),
    ]),
    ("tests/dissect/test_images.py::test_rules", "fusionzoo/dissect/measures/images.py", [
        ("if given[least] < 0:", "if given[least] <= 0:"),
        ("(len(ranked) - 1) // 2", "len(ranked) // 2"),
        ("key=lambda i: (given[i], -i)", "key=lambda i: (-given[i], -i)"),
    ]),
    ("tests/dissect/test_images.py::test_an_example_shows_what_was_scored", "fusionzoo/dissect/pictures/examples.py", [
        ("(order.index(place) + 1) % len(order)", "(order.index(place) - 1) % len(order)"),
        ("true = torch.where(label == data.ignore_index, -1, label)", "true = torch.where(label == 255, 0, label)"),
    ]),
    ("tests/dissect/test_inside.py::test_the_colours_are_principal_components_of_all_points_together",
     "fusionzoo/dissect/pictures/insight.py", [
        ("torch.stack([b / s**2 for b, s in zip(blocks, scale, strict=True)]).mean(0)", "blocks[0]"),
        ("torch.where(largest < 0, -directions, directions)", "directions"),
    ]),
    ("tests/dissect/test_inside.py::test_features_and_weights_of_the_image_alone",
     "fusionzoo/dissect/pictures/inside.py", [
        ("value = self._cut(value.detach())", "value = value.detach()"),
        ("0 if mixture.rgb_first else -1", "0"),
    ]),
    ("tests/dissect/test_several.py::test_a_modality_is_replaced_in_its_condition_only[noise]",
     "fusionzoo/dissect/conditions.py", [
        ("max(stream - 1, 0) * 1_000_000_007", "max(stream - 1, 0) * (1 << 32)"),
    ]),
    ("tests/dissect/test_several.py::test_contribution_is_the_mean_over_all_orders",
     "fusionzoo/dissect/measures/contribution.py", [
        ("_estimate(found.shapley[name])", "_estimate(found.marginal[name])"),
    ]),
    ("tests/dissect/test_dictionary.py::test_positions_whose_middle_is_padding_are_left_out",
     "fusionzoo/dissect/measures/dictionary.py", [
        ("/ count * covered", "/ count"),
    ]),
    ("tests/dissect/test_dictionary.py::test_each_stream_has_its_own_element_and_its_places_show_the_class",
     "fusionzoo/dissect/measures/dictionary.py", [
        ("found.setdefault(place, ", "found.setdefault(i, "),
        ("top, left = divmod(at, _STEPS)", "left, top = divmod(at, _STEPS)"),
    ]),
    ("tests/dissect/test_masks.py::test_similarity_health_and_information_leave_padding_out",
     "fusionzoo/dissect/measures/base.py", [
        ("return inside(maps, self.source.extent)", "return inside(maps, (1.0, 1.0))"),
    ]),
    ("tests/dissect/test_masks.py::test_similarity_health_and_information_leave_padding_out",
     "fusionzoo/dissect/measures/health.py", [
        ("batch.inside(value)", "value"),
    ]),
    ("tests/dissect/test_engine.py::test_depth_in_another_unit_than_the_weights_saw_is_said",
     "fusionzoo/dissect/conditions.py", [
        ("if text := unlike(unwrapped(model).preprocess, data, indices):", "if text := '':"),
    ]),
]
# fmt: on
