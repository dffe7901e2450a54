"""Checkpoints, the command line, errors. See tests/mutants.py."""

# fmt: off
MUTANTS: list[tuple[str, str, list[tuple[str, str]]]] = [
    ("tests/hub/test_verification.py::test_every_fault_fails_its_check", "fusionzoo/hub/verification.py", [
        ("if not worst <= stated.tolerance:", "if not worst <= 1e9:"),
        ("if path.stat().st_size != info.size:", "if False:"),
    ]),
    ("tests/hub/test_remote.py::test_a_corrupt_byte_is_caught_and_does_not_stay", "fusionzoo/hub/client.py", [
        ("if checksum(path, etag) != etag:", "if False:"),
    ]),
    ("tests/hub/test_remote.py::test_a_file_larger_than_its_config_implies_is_not_fetched", "fusionzoo/hub/client.py", [
        ("if size is None or size > limit:", "if size is None:"),
    ]),
    ("tests/hub/test_remote.py::test_revisions_by_branch_tag_and_commit", "fusionzoo/hub/load.py", [
        ("return _remote(hub[0], revision or hub[1], token, text, None)",
         "return _remote(hub[0], None, token, text, None)"),
    ]),
    ("tests/hub/test_strict.py::test_the_fingerprint_of_a_bundled_checkpoint_is_what_its_record_states",
     "fusionzoo/hub/fingerprint.py", [
        ("rgb, x = image[:, :3].to(torch.uint8), image[:, 3:].float()",
         "rgb, x = image[:, :3].flip(1).to(torch.uint8), image[:, 3:].float()"),
    ]),
    ("tests/test_errors.py::test_exit_status_and_bases", "fusionzoo/errors.py", [
        ('    exit_status = 1\n', '    exit_status = 2\n'),
    ]),
    ("tests/test_errors.py::test_a_text_is_one_line_whatever_is_in_a_name", "fusionzoo/errors.py", [
        ('c if c.isprintable() else " " for c in text', "c for c in text"),
    ]),
    ("tests/cli/test_group.py::test_errors_become_one_line", "fusionzoo/cli/group.py", [
        ('if isinstance(error, OSError | MemoryError) or type(error).__name__ == "OutOfMemoryError" else 3',
         'if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" else 3'),
        ('return 130\n', 'return 1\n'),
        ('return error.exit_status\n', 'return 2\n'),
    ]),
    ("tests/hub/test_store.py::test_half_rounds_matrices_only_and_loads_as_float32", "fusionzoo/hub/store.py", [
        ("if tensor.ndim < 2:", "if tensor.ndim < 1:"),
    ]),
    ("tests/hub/test_strict.py::test_the_lowest_bit_of_a_weight_is_noticed_by_its_checksum_alone",
     "fusionzoo/hub/verification.py", [
        ("if stated.get(name, found) != found:", "if False:"),
    ]),
    ("tests/hub/test_strict.py::test_weights_that_are_not_the_model_s", "fusionzoo/hub/verification.py", [
        ("extra = [k for k in header if k not in wanted.tensors]", "extra: list[str] = []"),
        ("if key in header and header[key].dtype not in accepted:", "if False:"),
        ("if key in header and header[key].shape != shape:", "if False:"),
    ]),
    ("tests/models/test_hdbformer.py::test_merged_channels_are_reordered",
     "fusionzoo/hub/originals/checkpoints/hdbformer.py", [
        ("four.transpose(-3, -2).flatten(-3)", "four.flatten(-3)"),
    ]),
    ("tests/models/test_emsaformer.py::test_a_file_of_several_tasks",
     "fusionzoo/hub/originals/checkpoints/emsaformer.py", [
        ("(instance|scene)_decoder", "(instance|scene|normal)_decoder"),
    ]),
    ("tests/hub/test_convert_tuni.py::test_an_encoder_alone_needs_its_version",
     "fusionzoo/hub/originals/checkpoints/tuni.py", [
        ("if given is not None and given != version:", "if False:"),
    ]),
    ("tests/hub/test_convert_tuni.py::test_the_second_decoder_is_left_out_by_name",
     "fusionzoo/hub/originals/checkpoints/source.py", [
        ("aside = len(weights.state) - len(source.tidy(weights.state))", "aside = 0"),
    ]),
    ("tests/hub/test_convert_prompted.py::test_modalities_that_are_no_kind_of_x_are_refused",
     "fusionzoo/hub/originals/checkpoints/cmnext.py", [
        ("if len(set(names)) < len(names) or (", "if ("),
    ]),
]
# fmt: on
