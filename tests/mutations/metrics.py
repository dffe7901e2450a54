"""Metrics. See tests/mutants.py."""

# fmt: off
MUTANTS: list[tuple[str, str, list[tuple[str, str]]]] = [
    ("tests/metrics/saliency/test_saliency.py::test_equals_stored_values_of_pysodmetrics",
     "fusionzoo/metrics/saliency/measures.py", [
        ("(255 * values).to(torch.int64)", "(255 * values).round().to(torch.int64)"),
        ("int(at.double().mean().round()) + 1", "int(at.double().mean().round())"),
        ("found = aligned / max(size - 1, 1)", "found = aligned / size"),
        ("mean.square() + 1 + spread", "mean.square() + 1"),
    ]),
    ("tests/metrics/similarity/test_cka.py::test_equals_the_gram_computation", "fusionzoo/metrics/similarity/cka.py", [
        ("/ ((n - 1) * (n - 2))", "/ (n * (n - 2))"),
        ("- 2 / (n - 2) * moments.quad", "- 1 / (n - 2) * moments.quad"),
    ]),
    ("tests/metrics/segmentation/test_confusion.py::test_equals_scikit_learn",
     "fusionzoo/metrics/segmentation/confusion.py", [
        ("(counts.sum(-1) + counts.sum(-2) - hit)", "(counts.sum(-1) + counts.sum(-2))"),
        (".masked_fill_(ignored, k * k)", ""),
    ]),
    ("tests/metrics/stats/test_resample.py::test_jackknife_of_a_mean_is_its_standard_error",
     "fusionzoo/metrics/stats/resample.py", [
        ("((g - 1) / g * (without", "(1 / g * (without"),
    ]),
    ("tests/metrics/cooperation/test_shapley.py::test_three_modalities_equal_the_average_over_orders",
     "fusionzoo/metrics/cooperation/shapley.py", [
        ("math.factorial(k) * math.factorial(n - k) / math.factorial(n + 1)", "1 / 2**n"),
    ]),
    ("tests/metrics/segmentation/test_images.py::test_the_ignored_class_counts_neither_as_right_nor_as_labelled",
     "fusionzoo/metrics/segmentation/images.py", [
        ("known & (pred == target)", "pred == target"),
    ]),
    ("tests/metrics/cooperation/test_modality_map.py::test_two_modalities_by_hand",
     "fusionzoo/metrics/cooperation/modality_map.py", [
        ("p[whole] - p[whole - {name}]", "p[frozenset({name})] - p[frozenset()]"),
        ("self.shapley[first] - self.shapley[second]", "self.shapley[second] - self.shapley[first]"),
        ("phi.abs() for phi", "phi for phi"),
    ]),
    ("tests/metrics/cooperation/test_modality_map.py::test_the_predicted_class_is_that_of_all_modalities",
     "fusionzoo/metrics/cooperation/modality_map.py", [
        ("every = max(logits, key=len)", "every = min(logits, key=len)"),
    ]),
    ("tests/metrics/cooperation/test_failures.py::test_expected_score_equals_the_sum_over_patterns_of_failure",
     "fusionzoo/metrics/cooperation/failures.py", [
        ("len(subset) == len(names) - failed", "len(subset) == failed"),
    ]),
    ("tests/metrics/cooperation/test_contribution.py::test_equals_every_subset_by_hand_and_leaving_out_groups",
     "fusionzoo/metrics/cooperation/contribution.py", [
        ("v[whole] - v[whole - {name}]", "v[frozenset({name})] - v[frozenset()]"),
    ]),
    ("tests/metrics/concepts/test_semantic_variance.py::test_reducers_leave_out_absent_concepts",
     "fusionzoo/metrics/concepts/semantic_variance.py", [
        ('"mean_abs": lambda delta, w: (w * delta.abs()).sum() / w.sum()',
         '"mean_abs": lambda delta, w: (w * delta).sum().abs() / w.sum()'),
        ("keep = ~(u.isnan() | v.isnan()) & (w > 0)", "keep = ~u.isnan() & (w > 0)"),
        (".sum() / w.sum() / 4,", ".sum() / w.sum() / 2,"),
    ]),
    ("tests/metrics/concepts/test_statistics.py::TestCurve::test_every_point_of_the_curve_is_the_set_iou",
     "fusionzoo/metrics/concepts/curve.py", [
        ("iou = above[:, 1] / (positives + above[:, 0])",
         "iou = above[:, 1] / (positives + above[:, 0] + above[:, 1])"),
        ('iou_curve(self._state["counts"][0].cpu())', 'iou_curve(self._state["counts"][1:].sum(0).cpu())'),
    ]),
    ("tests/metrics/health/test_channels.py::test_equals_numpy_in_batches", "fusionzoo/metrics/health/channels.py", [
        ("torch.special.entr(p).sum().exp()", "torch.special.entr(p).sum()"),
        ('alive = state["max"] > state["min"]', 'alive = state["max"] != 0'),
    ]),
    ("tests/metrics/health/test_channels.py::test_saturated_share_of_a_declared_range",
     "fusionzoo/metrics/health/channels.py", [
        ("hit |= rows >= self.high - margin", "hit |= rows > self.high"),
    ]),
    ("tests/metrics/test_accumulators.py::test_batches_and_shards_merge_to_the_one_pass_value",
     "fusionzoo/metrics/health/channels.py", [
        ("+ n * torch.outer(d, d)", ""),
    ]),
    ("tests/metrics/similarity/test_matrices.py::test_procrustes_equals_scipy",
     "fusionzoo/metrics/similarity/matrices.py", [
        ("2 - 2 * cosine, torch.arccos", "1 - cosine, torch.arccos"),
    ]),
    ("tests/metrics/cooperation/test_commonality.py::test_equals_regressions_on_the_data",
     "fusionzoo/metrics/cooperation/commonality.py", [
        ("both - two, both - one, one + two - both", "both - one, both - two, one + two - both"),
        ("return 1 - (1 - value) * (n - 1) / (n - 1 - p) if adjusted",
         "return 1 - (1 - value) * n / (n - 1 - p) if adjusted"),
    ]),
    ("tests/metrics/cooperation/test_pid.py::test_of_a_scalar_target_the_redundancy_is_the_least_information",
     "fusionzoo/metrics/cooperation/pid.py", [
        ("union - two.information, union - one.information,", "union - one.information, union - two.information,"),
    ]),
    ("tests/metrics/cooperation/test_pid.py::test_no_noise_on_a_grid_tells_less",
     "fusionzoo/metrics/cooperation/union.py", [
        ("slope = -told[1] - 2 * mu * loose[1]", "slope = -told[1] - 2 * loose[1]"),
        ("value = min(found.information,", "value = max(found.information,"),
    ]),
    ("tests/metrics/cooperation/test_pid.py::test_none_is_negative_they_add_up_and_swapping_the_sources_swaps_them",
     "fusionzoo/metrics/cooperation/pid.py", [
        ("(ridge * values.mean() if ridge else 0.0)", "(ridge * values[-1] if ridge else 0.0)"),
    ]),
    ("tests/metrics/health/test_gates.py::test_gate_equals_numpy_and_scipy", "fusionzoo/metrics/health/gates.py", [
        ('state["shut"] += (u <= EDGE)', 'state["shut"] += (u <= 0)'),
        (".sum((0, 2)) / math.log(2)", ".sum((0, 2))"),
    ]),
    ("tests/metrics/health/test_limits.py::test_within_one_percent_of_a_bound_is_at_it",
     "fusionzoo/metrics/health/channels.py", [
        ("margin = 0.01 * (self.high - self.low)", "margin = 0.02 * (self.high - self.low)"),
    ]),
    ("tests/metrics/health/test_limits.py::test_a_gate_is_shut_or_open_within_one_percent",
     "fusionzoo/metrics/health/gates.py", [
        ("EDGE = 0.01", "EDGE = 0.02"),
        ('state["open"] += (u >= 1 - EDGE)', 'state["open"] += (u >= 1)'),
    ]),
    ("tests/metrics/health/test_channels.py::test_saturated_and_silent_units", "fusionzoo/metrics/health/channels.py", [
        ("SATURATED = 0.95", "SATURATED = 0.9"),
    ]),
    ("tests/metrics/similarity/test_hsic.py::test_hsic_equals_averages_over_tuples_of_samples",
     "fusionzoo/metrics/similarity/cka.py", [
        ("/ (n * (n - 3))", "/ (n * (n - 1))"),
    ]),
    ("tests/metrics/concepts/test_dictionary.py::test_planted_sources_are_found_again_and_told_apart",
     "fusionzoo/metrics/concepts/dictionary.py", [
        ("- slope[:, None] * turn)", "+ slope[:, None] * turn)"),
        ("about = about / math.sqrt(total)", "about = about / 1.0"),
        ("found.append(one if ratio < ALIKE", "found.append(one if ratio < 0"),
    ]),
    ("tests/metrics/concepts/test_dictionary.py::test_never_more_elements_than_positions_or_directions_allow",
     "fusionzoo/metrics/concepts/dictionary.py", [
        ("kept = min(elements, n // PER_ELEMENT, ", "kept = min(elements, "),
    ]),
    ("tests/metrics/concepts/test_dictionary.py::test_decoders_give_the_streams_back_from_one_code",
     "fusionzoo/metrics/concepts/dictionary.py", [
        ("torch.where(code.pow(3).mean(0) < 0, -1.0, 1.0)", "torch.where(code.pow(3).mean(0) < 0, 1.0, -1.0)"),
    ]),
]
# fmt: on
