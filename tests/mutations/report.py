"""Pages, tables, pictures. See tests/mutants.py."""

# fmt: off
MUTANTS: list[tuple[str, str, list[tuple[str, str]]]] = [
    ("tests/report/test_colours.py::test_a_bar_of_the_segmentation_has_the_colour_of_what_is_left",
     "fusionzoo/report/sections/scores.py", [
        ('("both" if other else "rgb") if rgb else "x"', '("both" if other else "x") if rgb else "rgb"'),
    ]),
    ("tests/report/test_colours.py::test_a_bar_of_the_contribution_has_the_colour_of_its_modality",
     "fusionzoo/report/sections/contribution.py", [
        ('"rgb" if s == "rgb" else "x"', '"x" if s == "rgb" else "rgb"'),
    ]),
    ("tests/report/test_colours.py::test_the_shares_of_a_level", "fusionzoo/report/sections/stages.py", [
        ('(("unique_rgb", "rgb alone", "rgb"), ("redundant", "shared", "fused"), ("unique_x", other, "x"))',
         '(("unique_rgb", "rgb alone", "x"), ("redundant", "shared", "fused"), ("unique_x", other, "rgb"))'),
    ]),
    ("tests/report/test_colours.py::test_the_lines_of_a_modality", "fusionzoo/report/sections/specificity.py", [
        ('("rgb", "only rgb", "rgb"), ("x", f"only {x_name(d)}", "x")',
         '("rgb", "only rgb", "x"), ("x", f"only {x_name(d)}", "rgb")'),
    ]),
    ("tests/report/test_colours.py::test_the_lines_of_a_modality", "fusionzoo/report/sections/concepts.py", [
        ('("rgb_fused", "rgb-fused", "rgb"), ("x_fused", f"{x}-fused", "x")',
         '("x_fused", "rgb-fused", "rgb"), ("rgb_fused", f"{x}-fused", "x")'),
    ]),
    ("tests/report/test_colours.py::test_a_bar_of_the_segmentation_has_the_colour_of_what_is_left",
     "fusionzoo/report/page.css", [
        (".fill.rgb,.mark.rgb{fill:var(--rgb)}.fill.x,.mark.x{fill:var(--x)}",
         ".fill.rgb,.mark.rgb{fill:var(--x)}.fill.x,.mark.x{fill:var(--rgb)}"),
    ]),
    ("tests/report/test_colours.py::test_the_variables_are_the_stated_colours", "fusionzoo/report/style.py", [
        ('"rgb": "#c24a00", "x": "#0066aa"', '"rgb": "#0066aa", "x": "#c24a00"'),
    ]),
    ("tests/report/test_colours.py::test_the_lines_of_a_modality", "fusionzoo/report/page.css", [
        (".stroke.rgb{stroke:var(--rgb)}", ".stroke.rgb{stroke:var(--x)}"),
    ]),
    ("tests/report/test_colours.py::test_a_corruption_has_the_colour_of_the_modality_it_damages",
     "fusionzoo/report/sections/robustness.py", [
        ('stream = c.modality if c.modality in ("rgb", "x") else "both"', 'stream = "rgb"'),
    ]),
    ("tests/report/test_tables.py::test_segmentation_states_changes_with_their_errors", "fusionzoo/report/table.py", [
        ('text = f"{100 * value:+.1f}" if signed else f"{100 * value:.1f}"',
         'text = f"{value:+.1f}" if signed else f"{value:.1f}"'),
    ]),
    ("tests/report/test_overlay.py::test_blend_legend_and_ignored_pixels", "fusionzoo/report/overlay.py", [
        ("rgb[rows] * (1 - weights)[here]", "rgb[rows] * weights[here]"),
    ]),
    ("tests/report/test_overlay.py::test_areas_leave_ignored_pixels_out", "fusionzoo/report/overlay.py", [
        ("float(counts[k] / counts.sum())", "float(counts[k] / classes.size)"),
    ]),
    ("tests/report/test_svg.py::test_bars_are_as_long_as_their_values", "fusionzoo/report/svg.py", [
        ("length = span * min(max((value or 0) / top, 0), 1)", "length = span * min(max((value or 0) / top, 0.2), 1)"),
    ]),
    ("tests/report/test_limits.py::test_half_of_the_values_at_an_end_is_saturated",
     "fusionzoo/dissect/words.py", [
        ("SATURATED = 0.5", "SATURATED = 0.6"),
    ]),
    ("tests/report/test_new_parts.py::test_signed_bars_start_at_zero", "fusionzoo/report/svg.py", [
        ("low, high = sorted((at(0), at(value)))", "low, high = sorted((at(ticks[0]), at(value)))"),
    ]),
    ("tests/report/test_data_page.py::test_pictures_show_rgb_x_and_classes", "fusionzoo/report/pictures.py", [
        ("weight = np.zeros((len(colours) + 1, 1))", "weight = np.full((len(colours) + 1, 1), _ALPHA)"),
        (" * (paint[:-1].max(axis=1, keepdims=True) > 0)", ""),
        ("np.where(missing[..., None], hatch, np.rint(colour))", "np.rint(colour)"),
    ]),
    ("tests/report/test_data_page.py::test_never_more_than_three_megabytes", "fusionzoo/report/data_page.py", [
        ("if sum(map(len, [*cells, *made])) > room:", "if not made:"),
    ]),
    ("tests/report/test_gallery.py::test_the_modality_map_has_the_colours_of_the_modalities",
     "fusionzoo/report/pictures.py", [
        ("np.where(lean > 0, rgb_end", "np.where(lean < 0, rgb_end"),
        ("alpha = np.where(known, np.clip(strength, 0, 1), 0)", "alpha = np.where(known, np.sign(strength), 0)"),
    ]),
    ("tests/report/test_gallery.py::test_each_picture_shows_what_its_words_say", "fusionzoo/report/panels.py", [
        ("matters & (shares.balance < -LEAST)", "matters & (shares.balance < LEAST)"),
        ("wrong = (found != e.label) & ~unknown", "wrong = (found == e.label) & ~unknown"),
    ]),
    ("tests/report/test_gallery.py::test_never_more_than_the_budget", "fusionzoo/report/sections/gallery.py", [
        ("    while sum(map(len, made)) > BUDGET:", "    while not made:"),
    ]),
    ("tests/report/test_gallery.py::test_harm_is_marked_on_every_colour", "fusionzoo/dissect/results/examples.py", [
        ("np.fmin(self.rgb, self.x) <= -LEAST", "np.fmax(self.rgb, self.x) <= -LEAST"),
    ]),
    ("tests/report/test_inside.py::test_features_and_weights", "fusionzoo/report/inside.py", [
        ("lean = 2 * values - 1", "lean = 1 - 2 * values"),
    ]),
    ("tests/report/test_compared.py::test_one_row_a_checkpoint_on_the_same_images", "fusionzoo/report/compared.py", [
        ("for e in c.examples if e.id == shown.id", "for e in c.examples[:1]"),
    ]),
    ("tests/cli/test_effects.py::test_the_text_says_what_the_result_holds", "fusionzoo/report/sections/trace.py", [
        ("abs(row.effect) < abs(row.share) * LEAST", "abs(row.effect) < 0"),
    ]),
]
# fmt: on
