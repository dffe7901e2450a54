"""Writes what the bundled checkpoints' weights saw of x (quantiles, share of missing pixels) into their configs.

    python -m fusionzoo.cli.make_statistics weights nyuv2=nyuv2:PATH

goes once through the training images that each record names (drawn scenes are drawn anew; others need their place),
puts `x_quantiles` and `x_missing` into the "preprocess" of each config.json, and brings the checksums in record.json
and index.json up to date. Weights, fingerprints and stated results stay as they are.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from fusionzoo.data import parse_spec
from fusionzoo.data.spec import GENERATED
from fusionzoo.errors import InputError
from fusionzoo.files import atomic_files, dump_json, read_json
from fusionzoo.hub.layout import CONFIG, RECORD
from fusionzoo.hub.records import FileInfo, bundled, write_index
from fusionzoo.train.statistics import Survey, survey

__all__ = ["update", "update_all"]


def update(folder: Path, found: Survey) -> None:
    """Puts the statistics into a checkpoint folder's config.json, and its checksum into record.json."""
    config, record = read_json(folder / CONFIG), bundled(folder.parent)[folder.name]
    config["preprocess"] |= {"x_quantiles": list(found.x_quantiles), "x_missing": list(found.x_missing)}
    text = dump_json(config)
    info = FileInfo(hashlib.sha256(text).hexdigest(), len(text))
    changed = replace(record, files={**record.files, CONFIG: info})
    atomic_files(folder, {CONFIG: text, RECORD: dump_json(changed.to_dict())})


def update_all(root: Path, places: Mapping[str, str]) -> list[str]:
    """`update` for every checkpoint in `root` whose data are in `places` (name -> spec) or drawn; their names."""
    places = {**{name: name for name in GENERATED}, **places}
    known: dict[tuple[str, str, int | None], Survey] = {}
    done = []
    for name, record in bundled(root).items():
        if len(record.data) != 1 or record.data[0].name not in places:
            continue
        data = record.data[0]
        key = (data.name, data.split, data.n)
        if key not in known:
            images = parse_spec(places[data.name], split=data.split, limit=data.n)
            if len(images) != data.n:
                raise InputError(
                    f"{places[data.name]} has {len(images)} images of {data.split}, not {data.n} as recorded"
                )
            known[key] = survey(images)
        update(root / name, known[key])
        done.append(name)
    write_index(root)
    return done


if __name__ == "__main__":
    for changed_name in update_all(Path(sys.argv[1]), dict(item.split("=", 1) for item in sys.argv[2:])):
        print(changed_name)
