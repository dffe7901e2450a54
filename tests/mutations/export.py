"""Export to ONNX and torch.export. See tests/mutants.py."""

# fmt: off
MUTANTS: list[tuple[str, str, list[tuple[str, str]]]] = [
    ("tests/export/test_export.py::test_the_loss_is_of_what_the_export_says", "fusionzoo/export/compare.py", [
        ("(theirs, found)", "(theirs, wanted)"),
    ]),
    ("tests/export/test_export.py::test_another_result_than_the_models_is_refused", "fusionzoo/export/compare.py", [
        ("if not far[name] <= TOLERANCE[kind] * high[name]:", "if False:"),
    ]),
    ("tests/export/test_export.py::test_other_classes_in_int8_are_refused", "fusionzoo/export/compare.py", [
        ("if not same / pixels >= SAME[kind]:", "if False:"),
    ]),
    ("tests/export/test_export.py::test_a_joint_model_says_the_scene_type_beside_the_pixels",
     "fusionzoo/export/graph.py", [
        ("        points = joint | (", "        points = {} | ("),
    ]),
    ("tests/export/test_export.py::test_a_full_disk_leaves_what_was_there", "fusionzoo/export/run.py", [
        ("    atomic_files(target.parent, {", "    target.unlink(missing_ok=True)\n    atomic_files(target.parent, {"),
    ]),
    ("tests/export/test_export.py::test_a_kill_between_both_files_leaves_no_description_without_its_model",
     "fusionzoo/export/run.py", [
        ('{target.name: content, f"{target.name}.json": dump_json(done.to_dict())}',
         '{f"{target.name}.json": dump_json(done.to_dict()), target.name: content}'),
    ]),
    ("tests/export/test_export.py::test_a_place_where_nothing_can_be_written_is_said_before_the_work",
     "fusionzoo/export/run.py", [
        ("        with tempfile.TemporaryFile(dir=target.parent):", "        if False:"),
    ]),
]
# fmt: on
