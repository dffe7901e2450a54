"""Records: strict both ways, their schema, indexes, names in natural order; no torch."""

from __future__ import annotations

import copy
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fusionzoo.errors import InputError, UnknownNameError
from fusionzoo.hub import records
from fusionzoo.hub.records import Record

ROOT = Path(__file__).resolve().parents[2]

FULL: dict[str, Any] = {
    "name": "hybrid_mobilenetv1-025_fpn.nyuv2-13",
    "architecture": "hybrid_mobilenetv1-025_fpn",
    "files": {"config.json": {"sha256": "a" * 64, "size": 700}, "model.safetensors": {"sha256": "b" * 64, "size": 9}},
    "num_params": 12,
    "licence": "other",
    "licence_note": "research use: the training data states no licence",
    "modalities": ["rgb", "depth"],
    "x_kind": "depth",
    "classes": ["bed", "books"],
    "ignore_index": 255,
    "label_map": "40 -> 13",
    "data": [{"name": "nyuv2", "split": "train", "n": 795, "licence": "none stated", "note": "blocks"}],
    "metrics": [
        {"data": "nyuv2", "split": "test", "protocol": "single scale, 240x320", "miou": 0.41, "pixel_accuracy": 0.7,
         "n": 654, "who": "us"}
    ],
    "recipe": {"command": "fusionzoo finetune ...", "seed": 0, "epochs": 30, "resolution": [240, 320],
               "init": "ImageNet", "commit": "0" * 40, "seconds": 100.5},
    "fingerprint": {"seed": 0, "size": [64, 96], "mean": [0.1], "std": [0.2], "samples": [0.3], "tolerance": 0.001},
    "dtype": "float16",
    "origin": "fusionzoo",
    "conversion": {"method": "none", "max_difference": 0.0, "note": "-"},
    "citation": "-",
    "repo_id": "org/name",
    "revision": "c" * 40,
    "notes": "-",
    "format_version": 1,
}  # fmt: skip


def changed(path: str, value: Any) -> dict[str, Any]:
    """FULL with one value replaced (`None` as value removes it); path with dots."""
    out = copy.deepcopy(FULL)
    at: Any = out
    *parents, last = path.split("/")
    for key in parents:
        at = at[int(key) if isinstance(at, list) else key]
    if value is None:
        del at[last]
    else:
        at[last] = value
    return out


def test_empty_required_fields_survive_the_round_trip() -> None:
    record = Record.from_dict({**FULL, "files": {}, "recipe": {"command": ""}})
    assert record.to_dict()["files"] == {} and Record.from_dict(record.to_dict()) == record


def test_a_record_survives_the_round_trip() -> None:
    record = Record.from_dict(FULL)
    assert record.to_dict() == FULL
    assert (record.tag, record.recipe and record.recipe.resolution) == ("nyuv2-13", (240, 320))
    small = {k: FULL[k] for k in ("name", "architecture", "files", "num_params")}
    assert Record.from_dict(small).to_dict() == small | {
        "licence": "other",
        "ignore_index": 255,
        "dtype": "float32",
        "format_version": 1,
    }


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("num_param", 3, "unknown field 'num_param'; did you mean 'num_params'?"),
        ("metrics/0/mIoU", 0.4, r"metrics\[0\]: unknown field 'mIoU'; did you mean 'miou'?"),
        ("recipe/comand", "x", "recipe: unknown field 'comand'; did you mean 'command'?"),
        ("files/config.json/md5", "x", "unknown field 'md5'"),
        ("num_params", None, "field 'num_params' is missing"),
        ("metrics/0/protocol", None, r"metrics\[0\]: field 'protocol' is missing"),
        ("num_params", "12", "num_params is '12', wanted int"),
        ("num_params", True, "num_params is True, wanted int"),
        ("num_params", 12.0, "num_params is 12.0, wanted int"),
        ("metrics/0/miou", 41.0, "a metric is not a fraction"),
        ("metrics/0/miou", float("nan"), "wanted float"),
        ("classes", "bed", "classes is 'bed', wanted a list"),
        ("recipe/resolution", [240], "resolution is .*, wanted a list of 2"),
        ("files", [], "files is .*, wanted an object"),
        ("files/..%2f", {"sha256": "a" * 64, "size": 1}, None),
        ("files/config.json/sha256", "A" * 64, "sha256 is not 64 lower-case hex digits"),
        ("files/config.json/size", -1, "size is not a number of bytes"),
        ("name", "hybrid", "is not architecture.tag"),
        ("name", "gate_mobilenetv1-025_fpn.x", "is not of 'hybrid_mobilenetv1-025_fpn'"),
        ("name", "../x.y", "is not architecture.tag"),
        ("dtype", "float8", "neither float32 nor float16"),
        ("revision", "main", "not a commit"),
        ("repo_id", None, "repo_id and revision go together"),
        ("format_version", 2, "format_version 2, this is 1"),
        ("fingerprint/tolerance", 1.0, "tolerance is not in"),
        ("fingerprint/size", [64, 100000], "size is not between"),
        ("fingerprint/std", [], "differ in length"),
        ("fingerprint/samples", [], "fingerprint without values"),
    ],
)  # fmt: skip
def test_what_is_wrong_gets_one_line(path: str, value: Any, words: str | None) -> None:
    if words is None:
        Record.from_dict(changed(path, value))
        return
    with pytest.raises(InputError, match=words) as error:
        Record.from_dict(changed(path, value), "record.json")
    assert str(error.value).startswith("record.json") and "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../b", "a\\..\\b", "", "C:/x", "~/x", "a\nb", "x" * 300])
def test_file_names_stay_inside_the_folder(name: str) -> None:
    values = copy.deepcopy(FULL)
    values["files"][name] = {"sha256": "a" * 64, "size": 1}
    with pytest.raises(InputError, match="refused file name"):
        Record.from_dict(values)


def check_schema(schema: dict[str, Any], value: Any) -> bool:
    """A JSON Schema validator for the few words that ours uses, written apart from the code that makes it."""
    if "anyOf" in schema:
        return any(check_schema(s, value) for s in schema["anyOf"])
    kind = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "null": type(None)}
    if not isinstance(value, kind[schema["type"]]) or isinstance(value, bool):
        return False
    if schema["type"] == "object":
        props, extra = schema.get("properties", {}), schema["additionalProperties"]
        return set(schema.get("required", [])) <= set(value) and all(
            check_schema(props[k], v) if k in props else extra is not False and check_schema(extra, v)
            for k, v in value.items()
        )
    if schema["type"] == "array":
        return schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", 10**9) and all(
            check_schema(schema["items"], v) for v in value
        )
    return True


def test_the_published_schema_is_the_code_s_and_agrees_with_it() -> None:
    published = json.loads((ROOT / "weights/record.schema.json").read_text())
    assert published == records.json_schema()
    assert check_schema(published, FULL)
    scenes = changed("metrics", [{"data": "d", "split": "test", "protocol": "p", "balanced_accuracy": 0.5}])
    assert check_schema(published, scenes) and Record.from_dict(scenes).metrics[0].miou == 0.5
    assert Record.from_dict({**scenes, "task": "classification"}).to_dict()["metrics"][0]["balanced_accuracy"] == 0.5
    wrong = [
        ("num_param", 3),
        ("num_params", None),
        ("num_params", "12"),
        ("classes", "bed"),
        ("recipe/resolution", [1]),
    ]
    for path, value in [*wrong, ("metrics/0/mIoU", 0.4), ("metrics/0/protocol", None), ("files", [])]:
        assert not check_schema(published, changed(path, value)), path


def bundle(root: Path, *names: str) -> None:
    for name in names:
        folder = root / name
        folder.mkdir(parents=True)
        values = FULL | {"name": name, "architecture": name.partition(".")[0]}
        Record.from_dict({k: v for k, v in values.items() if k not in ("repo_id", "revision")}).write(folder)


def test_bundled_records_are_found_in_natural_order(tmp_path: Path) -> None:
    bundle(tmp_path, "gate_a_fpn.run10", "gate_a_fpn.run9", "concat_a_fpn.x")
    (tmp_path / "no-record").mkdir()
    assert list(records.bundled(tmp_path)) == ["concat_a_fpn.x", "gate_a_fpn.run9", "gate_a_fpn.run10"]
    assert records.bundled_folder("gate_a_fpn.run9", tmp_path) == tmp_path / "gate_a_fpn.run9"
    with pytest.raises(UnknownNameError, match="did you mean 'gate_a_fpn.run9'"):
        records.bundled_folder("gate_a_fpn.run8", tmp_path)
    with pytest.raises(UnknownNameError):
        records.bundled_folder("../concat_a_fpn.x", tmp_path)
    (tmp_path / "concat_a_fpn.x").rename(tmp_path / "concat_a_fpn.y")
    with pytest.raises(InputError, match="its folder says 'concat_a_fpn.y'"):
        records.bundled(tmp_path)


def test_index_files(tmp_path: Path) -> None:
    path = tmp_path / "index.json"

    def write(values: Any) -> Path:
        path.write_text(json.dumps(values))
        return path

    homeless = {k: v for k, v in FULL.items() if k not in ("repo_id", "revision")}
    good = {"format_version": 1, "records": [FULL, FULL | {"name": "hybrid_mobilenetv1-025_fpn.b"}]}
    assert list(records.load_index(write(good))) == ["hybrid_mobilenetv1-025_fpn.b", FULL["name"]]
    assert records.find(FULL["name"], path).repo_id == "org/name"
    for values, words in [
        ({"format_version": 1, "record": []}, "did you mean 'records'"),
        ({"format_version": 2, "records": []}, "is no index"),
        ({"format_version": 1, "records": [FULL, FULL]}, "two records are called"),
        ({"format_version": 1, "records": [changed("num_param", 1)]}, r"records\[0\]: unknown field"),
        ({"format_version": 1, "records": [homeless]}, "no repo_id"),
        ({"format_version": 1, "records": ["x"]}, "wanted an object"),
        ([], "wanted an object"),
    ]:  # fmt: skip
        with pytest.raises(InputError, match=words):
            records.load_index(write(values))


def test_update_replaces_fields_or_nothing(tmp_path: Path) -> None:
    bundle(tmp_path, "gate_a_fpn.x")
    folder = tmp_path / "gate_a_fpn.x"
    metrics = [{"data": "planted", "split": "test", "protocol": "single scale", "miou": 0.5}]
    assert records.update(folder, {"metrics": metrics}).metrics[0].miou == 0.5
    assert records.read_record(folder).metrics[0].data == "planted"
    before = (folder / "record.json").read_bytes()
    with pytest.raises(InputError, match="did you mean 'metrics'"):
        records.update(folder, {"metric": metrics})
    assert (folder / "record.json").read_bytes() == before


def test_the_bundled_folders_their_index_and_their_files_agree() -> None:
    root = ROOT / "weights"
    known = records.bundled(root)
    index = json.loads((root / "index.json").read_text())["checkpoints"] if known else {}
    assert index == {name: hashlib.sha256((root / name / "record.json").read_bytes()).hexdigest() for name in known}
    for name, record in known.items():
        for file, info in record.files.items():
            path = root / name / file
            data = path.read_bytes()
            assert (len(data), hashlib.sha256(data).hexdigest()) == (info.size, info.sha256), path
        assert record.licence and record.metrics and record.recipe and record.fingerprint, name


def test_reading_records_needs_no_torch() -> None:
    code = "import sys; from fusionzoo.hub import records; records.bundled(); print('torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert out.stdout.strip() == "False"
