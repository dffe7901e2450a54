"""The benchmark of strategies. See tests/mutants.py."""

# fmt: off
MUTANTS: list[tuple[str, str, list[tuple[str, str]]]] = [
    ("tests/bench/test_study.py::test_spearman_equals_scipy_ties_included", "fusionzoo/metrics/stats/ranks.py", [
        ("(below + upto - 1).double() / 2", "below.double()"),
    ]),
    ("tests/bench/test_study.py::test_spearman_equals_scipy_ties_included", "fusionzoo/bench/study.py", [
        ("float(np.quantile(kept, 0.025))", "float(np.quantile(kept, 0.25))"),
    ]),
    ("tests/bench/test_study.py::test_the_front_is_what_no_other_beats", "fusionzoo/bench/plots.py", [
        ("        if score > best:", "        if score < best or not front:"),
    ]),
    ("tests/bench/test_cost.py::test_counts_equal_those_by_hand", "fusionzoo/bench/cost.py", [
        ("weights + peak_bytes(", "0 * weights + peak_bytes("),
        ("counter.get_total_flops() / 2e9", "counter.get_total_flops() / 1e9"),
    ]),
    ("tests/bench/test_cost.py::test_what_is_freed_counts_no_more_and_views_never", "fusionzoo/bench/cost.py", [
        ("        self.now -= size", "        self.now -= 0"),
        ("not in given | self.known:", "not in self.known:"),
    ]),
    ("tests/bench/test_bench.py::test_a_training_term_is_compared_with_its_own_strategy", "fusionzoo/bench/rank.py", [
        ("by_strategy.get(plain, [])", "by_strategy.get(reference, [])"),
        ('name.rpartition("+")[0] or name', 'name.partition("+")[0] or name'),
    ]),
    ("tests/bench/test_bench.py::test_a_row_says_its_options_and_the_rule", "fusionzoo/bench/plan.py", [
        ("            for term in variant(name).terms:", "            for term in ():"),
        ("options[key] = typed(value)", "options[key] = value"),
        ("    if terms != (ordered :=", "    if () == (ordered :="),
    ]),
    ("tests/bench/test_bench.py::test_the_rate_is_chosen_and_a_run_that_diverges_ends_nothing",
     "fusionzoo/bench/results.py", [
        ("final = [r for r in _chosen(results) if r.failed]", "final = list[RunResult]()"),
    ]),
    ("tests/bench/test_bench.py::test_results_on_other_data_are_refused", "fusionzoo/bench/same.py", [
        ("if (r.data, r.class_names) != (tested.name, list(tested.class_names)):", "if False:"),
    ]),
    ("tests/bench/test_bench.py::test_scene_types_are_scored_by_balanced_accuracy", "fusionzoo/bench/score.py", [
        ("means_and_classes(s, data_task(data))", 'means_and_classes(s, "segmentation")'),
    ]),
    ("tests/bench/test_study.py::test_twins_and_single_modalities_do_not_count_as_strategies",
     "fusionzoo/bench/study.py", [
        ('not run.strategy.endswith("_only") and', ""),
    ]),
    ("tests/bench/test_drawings.py::test_options_stand_beside_their_strategy_and_the_rule_beside_the_rule",
     "fusionzoo/bench/rank.py", [
        ('"+".join([made.fusion, *made.terms])', "made.fusion"),
    ]),
    ("tests/bench/test_drawings.py::test_the_front_is_the_planted_one_and_single_modalities_are_not_on_it",
     "fusionzoo/bench/drawings.py", [
        ('if sign(row.strategy) not in ("rgb", "x")]', "]"),
    ]),
    ("tests/bench/test_drawings.py::test_the_figure_that_predicts_comes_first_and_has_the_other_sign",
     "fusionzoo/bench/plots.py", [
        ('"fused" if low > 0 or high < 0 else "both"', '"both"'),
    ]),
    ("tests/bench/test_bench.py::test_results_on_other_images_of_the_same_names_are_refused",
     "fusionzoo/bench/same.py", [
        ('if r.labels not in ("", labels) or (', "if ("),
        (' or (r.phase == "final" and r.images != len(tested)):', ":"),
        ('digest.update(images[i]["label"].numpy().tobytes())', "pass"),
    ]),
    ("tests/bench/test_bench.py::test_rows_that_start_from_other_weights_of_the_same_name_are_refused",
     "fusionzoo/bench/same.py", [
        ('if "" not in (r.weights, weights) and r.weights != weights:', "if False:"),
    ]),
    ("tests/bench/test_bench.py::test_rows_that_start_from_other_weights_of_the_same_name_are_refused",
     "fusionzoo/dissect/run.py", [
        ("digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())", "pass"),
    ]),
    ("tests/bench/test_study.py::test_one_model_under_two_names_counts_once", "fusionzoo/bench/study.py", [
        ("models.setdefault(repr(sorted((r.seed, sorted(r.scores.items())) for r in runs)), runs)",
         "models.setdefault(runs[0].strategy, runs)"),
        ("(r.seed, sorted(r.scores.items())) for r in runs", "sorted(r.scores.items()) for r in runs[1:]"),
    ]),
    ("tests/bench/test_bench.py::test_images_without_depth_are_left_out_or_kept_when_asked", "fusionzoo/bench/run.py", [
        ('() if empty == "refuse" else without_x(found), empty)[0]', "(), empty)[0]"),
    ]),
]
# fmt: on
