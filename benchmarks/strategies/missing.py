"""What stands for x where it is missing: the mean, a guess from rgb for the frozen model, or modality dropout.

    python benchmarks/strategies/missing.py hybrid_mobilenetv1-025_fpn.planted --data planted --out runs/missing
    python benchmarks/strategies/missing.py hybrid_mobilenetv1-025_fpn.nyuv2-13 --data nyuv2:PATH \
      --train-split trainval --out runs/missing-nyu

Three models from one checkpoint, at equal epochs: the checkpoint itself, which takes zeros (the mean) for x; the same,
frozen, with a guess at x in front (`fusionzoo.models.MissingX`), trained on images of which half have no x and half no
rgb; and the checkpoint trained on with modality dropout 0.5. Test images with both, without x and without rgb, at the
checkpoint's own size. Finished runs are kept. Writes OUT/missing.json.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from fusionzoo._check import open_data
from fusionzoo.bench.score import CONDITIONS, score
from fusionzoo.files import atomic_write, dump_json
from fusionzoo.hub import from_pretrained
from fusionzoo.models import MissingX
from fusionzoo.train import Settings, finetune

SHOWN = ("both", "without_x", "without_rgb")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("checkpoint")
    parser.add_argument("--data", default="planted")
    parser.add_argument("--train-split", default="train")
    parser.add_argument("--test-split", default="test")
    parser.add_argument("--limit", type=int, help="training images at most")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    told = {key: str(value) for key, value in vars(args).items() if key not in ("out", "seed", "test_split")}
    asked = args.out / "asked.json"
    if asked.is_file() and json.loads(asked.read_text()) != told:
        raise SystemExit(f"{args.out} holds runs of other arguments: {asked.read_text()}; give another --out")
    args.out.mkdir(parents=True, exist_ok=True)
    atomic_write(asked, dump_json(told))
    start, given = args.out / "start", from_pretrained(args.checkpoint)
    if not start.is_dir():
        MissingX.of(given).save_pretrained(start)
    size = given.input_size or (120, 160)
    # the last weights are kept: with both inputs, which validation gives, a guess changes nothing
    common = {
        "data": args.data, "train_split": args.train_split, "val_split": "", "limit": args.limit, "base": size,
        "size": size, "epochs": args.epochs, "lr": args.lr, "seed": args.seed,
    }  # fmt: skip
    runs = {
        "guess": Settings(model=str(start), drop_modality=1.0, **common),
        "dropout": Settings(model=args.checkpoint, drop_modality=0.5, **common),
    }
    places = {"mean": args.checkpoint}
    for name, settings in runs.items():
        places[name] = str(args.out / f"{name}-{args.seed}")
        if not (Path(places[name]) / "finished.pt").is_file():
            finetune(settings, places[name], resume=(Path(places[name]) / "state.pt").is_file(), note=print)
    found = {}
    for name, place in places.items():
        model = from_pretrained(place)
        data = open_data(args.data, model, split=args.test_split, size=size)
        scores = score(model, data, {key: CONDITIONS[key] for key in SHOWN})
        found[name] = {key: one.miou for key, one in scores.items()}
        print(name, {key: round(100 * value, 1) for key, value in found[name].items()}, flush=True)
    whole = {"arguments": told, "seed": args.seed, "test_split": args.test_split, "size": list(size), "miou": found}
    atomic_write(args.out / "missing.json", dump_json(whole))


if __name__ == "__main__":
    main()
