"""Data sets, pictures, transforms, corruptions. See tests/mutants.py."""

# fmt: off
MUTANTS: list[tuple[str, str, list[tuple[str, str]]]] = [
    ("tests/data/test_scenes.py::test_no_transform_changes_the_class_of_a_whole_image",
     "fusionzoo/data/transforms.py", [
        ('return {**moved, "label": label}', "return moved"),
    ]),
    ("tests/data/test_joint.py::test_planted_rooms_are_those_of_planted_scenes_and_patches_are_labelled_by_what_they_show",
     "fusionzoo/data/planted_joint.py", [
        ("return PAINTED_RELIEF if slot.relief else PANEL", "return PANEL"),
    ]),
    ("tests/data/test_joint.py::test_the_type_goes_with_its_image_through_caches_transforms_and_batches",
     "fusionzoo/data/base.py", [
        ('self._scenes[index] = int(sample["scene"])', "pass"),
    ]),
    ("tests/data/test_scenes.py::test_a_scene_type_is_what_its_patches_show", "fusionzoo/data/planted_scenes.py", [
        ("red == (kind == JOINT_A)", "red"),
    ]),
    ("tests/data/test_validate.py::test_x_that_says_nothing", "fusionzoo/data/validate.py", [
        ("~missing_x(own, part.kind) & (own != 0)", "~missing_x(own, part.kind)"),
    ]),
    ("tests/data/test_validate.py::test_left_out_kept_or_refused", "fusionzoo/data/validate.py", [
        ('"n": len(self), "selected": self.empty_note', ""),
    ]),
    ("tests/data/test_orientation.py::test_parts_of_which_some_are_turned", "fusionzoo/data/pair.py", [
        ("turn > 4 and size[0] == size[1]", "turn > 4"),
        ("turn > 4 and size[0] == size[1]", "turn > 8"),
        ("if turn == 1]", "if turn == 9]"),
    ]),
    ("tests/data/test_orientation.py::test_a_folder_says_it_of_the_first", "fusionzoo/data/folder.py", [
        ("self._told[0] = 1", "pass"),
    ]),
    ("tests/data/test_transforms.py::test_all_three_stay_aligned", "fusionzoo/data/transforms.py", [
        ("rgb, x, label = rgb.flip(-1), x.flip(-1), label.flip(-1)", "rgb, x, label = rgb.flip(-1), x, label.flip(-1)"),
        ("_pad(label, self.size, top, left, IGNORE)", "_pad(label, self.size, top, left, 0)"),
    ]),
    ("tests/data/test_transforms.py::test_depth_scale_divides_by_the_zoom", "fusionzoo/data/transforms.py", [
        ("x = x / zoom", "x = x * zoom"),
    ]),
    ("tests/data/test_transforms.py::test_colour_jitter_against_torchvision", "fusionzoo/data/transforms.py", [
        ("[1.0, saturation, saturation]", "[1.0, saturation, 1.0]"),
        ("brightness * (1 - contrast) * luma", "(1 - contrast) * luma"),
    ]),
    ("tests/data/test_zoom.py::test_the_zoom_is_log_uniform_over_its_range", "fusionzoo/data/transforms.py", [
        ("math.exp(low + (high - low) * draw[0])", "math.exp(high)"),
    ]),
    ("tests/data/test_corrupt.py::test_noise_has_the_stated_deviation", "fusionzoo/data/corrupt.py", [
        ("return torch.where(x > 0, noisy.clamp(min=NEAREST), x) if depth", "return noisy.clamp(min=NEAREST) if depth"),
    ]),
    ("tests/data/test_corrupt.py::test_shift_moves_by_whole_pixels", "fusionzoo/data/corrupt.py", [
        ("moved = torch.where(inside, moved, torch.zeros((), dtype=x.dtype))", "pass"),
        ("rows, cols = torch.arange(height) - down, torch.arange(width) - right",
         "rows, cols = torch.arange(height) + down, torch.arange(width) + right"),
    ]),
    ("tests/data/test_corrupt.py::test_low_light_is_darker_by_the_stops_and_noisy_as_photons_are",
     "fusionzoo/data/corrupt.py", [
        ("2.0**-stops", "2.0**stops"),
    ]),
    ("tests/data/test_corrupt.py::test_coarse_depth", "fusionzoo/data/corrupt.py", [
        ("coarse = torch.floor(x / step + 0.5) * step", "coarse = torch.floor(x / step) * step"),
    ]),
    ("tests/data/test_geometry.py::TestOrientations::test_a_plane_has_its_orientation", "fusionzoo/data/geometry.py", [
        ("flat = cosine >= math.cos(math.radians(tolerance))", "flat = cosine >= math.sin(math.radians(tolerance))"),
    ]),
    ("tests/data/test_geometry.py::TestDepthEdges::test_no_plane_has_an_edge_however_slanted",
     "fusionzoo/data/geometry.py", [
        ("(before - 2 * here + after).abs()", "(after - before).abs()"),
    ]),
    ("tests/data/test_hha.py::test_near_depth_and_ground_out_of_sight", "fusionzoo/data/hha.py", [
        ("height - (lowest if lowest <= -90 else -130.0)", "height - lowest"),
    ]),
    ("tests/data/test_hha.py::test_channels_in_closed_form", "fusionzoo/data/hha.py", [
        ("torch.rad2deg(torch.arccos(cosine)) + 38", "torch.rad2deg(torch.arccos(cosine))"),
    ]),
    ("tests/data/test_hha.py::test_a_resized_camera_sees_the_same_rays", "fusionzoo/data/hha.py", [
        ("(self.cx + 0.5) * sx - 0.5", "self.cx * sx"),
    ]),
    ("tests/data/test_gravity.py::test_a_ramp_does_not_tilt_the_floor", "fusionzoo/data/hha.py", [
        ("[45.0] * 5 + [15.0] * 5", "[45.0] * 5"),
    ]),
    ("tests/data/test_nyuv2.py::test_values_are_exact", "fusionzoo/data/nyuv2.py", [
        ("self._lut[0] = IGNORE", "self._lut[0] = 0"),
        ("np.array(_MAPS[num_classes], np.uint8) - 1", "np.array(_MAPS[num_classes], np.uint8)"),
        ('read_label(self.where(number, "label")), 0.001', 'read_label(self.where(number, "label")), 0.01'),
    ]),
    ("tests/data/test_nyuv2.py::test_splits", "fusionzoo/data/nyuv2.py", [
        ("[i for i in train if i not in held_out]", "list(train)"),
    ]),
    ("tests/data/test_folder.py::test_values_are_exact", "fusionzoo/data/folder.py", [
        ("out[ignored] = IGNORE", "out[ignored] = 0"),
    ]),
    ("tests/data/test_planted.py::test_splits_seeds_and_indices_never_coincide", "fusionzoo/data/planted.py", [
        ("key = (list(SPLITS).index(self.split), self._index(index))", "key = (0, self._index(index))"),
    ]),
    ("tests/data/test_images.py::test_resize_nearest_against_torch", "fusionzoo/data/images.py", [
        ("rows = ((torch.arange(size[0]) * 2 + 1) * height) // (2 * size[0])",
         "rows = (torch.arange(size[0]) * height) // size[0]"),
    ]),
    ("tests/data/test_planted_graded.py::test_the_rule_of_the_docstring_labels_the_whole_picture",
     "fusionzoo/data/planted_graded.py", [
        ("concept = PARITY + int(heads != out)", "concept = PARITY + int(not heads)"),
        ("DARK + int(not (out if told else heads))", "DARK + int(not heads)"),
        ("CONFLICT + int(not (heads if told else out))", "CONFLICT + int(not out)"),
        ("concept = AND if third == 0 else lay.WALL", "concept = AND if third < 2 else lay.WALL"),
    ]),
    ("tests/data/test_planted_graded.py::test_depth_does_not_know_paint_nor_colour_relief",
     "fusionzoo/data/planted_render.py", [
        ("risk[window][mask] += np.float32(slot.speckle)", "albedo[window][mask] *= np.float32(1 - slot.speckle)"),
    ]),
    ("tests/data/test_auxiliary.py::test_packed_bits_are_named_and_read", "fusionzoo/data/auxiliary.py", [
        ("raw = raw >> 3 | raw << 13 if", "raw = raw >> 3 if"),
    ]),
    ("tests/data/test_sunrgbd.py::test_prepared_by_others", "fusionzoo/data/sunrgbd.py", [
        ("return np.minimum(raw, FARTHEST), factor", "return raw, factor"),
    ]),
    ("tests/data/test_sunrgbd.py::test_as_published", "fusionzoo/data/sunrgbd.py", [
        ("self._at[rgb] = self._order[name]", "self._at[rgb] = len(self._at)"),
    ]),
    ("tests/data/test_official.py::test_cityscapes_disparity_is_depth", "fusionzoo/data/cityscapes.py", [
        ("pixels = (stored.astype(np.float64) - 1) / 256", "pixels = stored.astype(np.float64) / 256"),
    ]),
    ("tests/data/test_official.py::test_mfnet", "fusionzoo/data/mfnet.py", [
        ("planes[:3]), planes[3:], 1.0", "planes[:3]), planes[:1], 1.0"),
    ]),
    ("tests/data/test_official.py::test_deliver_offers_each_modality_as_x", "fusionzoo/data/deliver.py", [
        ("steps * (1000.0 / ((1 << 24) - 1))", "steps * (1000.0 / (1 << 23))"),
    ]),
    ("tests/data/test_official.py::test_a_whole_split_needs_no_word", "fusionzoo/data/official.py", [
        ("if official is not None and len(images) != official:", "if official is not None and len(images) < official:"),
    ]),
    ("tests/data/test_inspection.py::test_equal_images_whatever_their_files", "fusionzoo/data/look.py", [
        ("first.setdefault(row.digest, (split, row.id)) != (split, row.id)",
         "first.setdefault(row.digest, (split, row.id))[0] != split"),
    ]),
    ("tests/data/test_inspection.py::test_incomplete_pairs_in_folders_of_splits", "fusionzoo/data/layout.py", [
        ("        if incomplete:", "        if False:"),
    ]),
    ("tests/data/test_inspection.py::test_what_is_there", "fusionzoo/data/look.py", [
        ("valid = x[~hole]", "valid = x.flatten()"),
    ]),
    ("tests/data/test_several.py::test_each_sensor_shows_its_class_and_no_other_does",
     "fusionzoo/data/planted_multi.py", [
        ("np.where(label == FLICKER, FIRES, STRAY)", "np.where(label == WARM, FIRES, STRAY)"),
        ("WARMER * (label == WARM)", "WARMER * (label >= WARM)"),
    ]),
    ("tests/data/test_planted_saliency.py::test_the_mask_is_of_the_patches_that_stand_out_by_the_rules",
     "fusionzoo/data/planted_saliency.py", [
        ('(sample["label"] == SALIENT)', '(sample["label"] >= SALIENT - 1)'),
        ("SALIENT if salient else lay.WALL", "SALIENT if side > 0 else lay.WALL"),
    ]),
    ("tests/data/test_folder.py::test_a_folder_of_a_split_without_images_is_named", "fusionzoo/data/folder.py", [
        ("(shown or split is not None) and", "split is not None and"),
    ]),
    ("tests/data/test_folder.py::test_a_missing_partner_is_looked_for_where_the_others_of_its_split_lie",
     "fusionzoo/data/layout.py", [
        ("if near is not None and not near.is_relative_to(folder):", "if False:"),
    ]),
]
# fmt: on
