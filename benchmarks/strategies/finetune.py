"""Does fine-tuning a bundled checkpoint beat training from ImageNet and from noise, at equal epochs, on few images?

    python benchmarks/strategies/finetune.py NYUV2 --encoder ENCODER --out runs/finetune

Makes a folder data set as a user would have one: 100 images of NYU Depth v2's training split with the 4 classes floor,
structure, furniture, props, 100 others to choose the learning rate on, and the official 654 test images, all at
240x320. Each start trains by the same command `fusionzoo finetune` with the same epochs; for each the learning rate is
chosen from one grid by validation mIoU (seed 1000), then three seeds meet the test images once. The checkpoint was
trained on these images before, with 13 classes: that is what it brings.

ENCODER: MobileNet v1 0.25 from `fusionzoo convert mobilenet_v1`. Finished runs are kept: start it again to go on.
Writes OUT/finetune.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import interpolate

import fusionzoo
from fusionzoo.bench.rank import interval
from fusionzoo.data import NYUv2, parse_spec
from fusionzoo.files import atomic_write, dump_json
from fusionzoo.train import evaluate

CHECKPOINT = "concat_mobilenetv1-025_fpn.nyuv2-13"
DECODER = ["--decoder-args", "pyramid_channels=96", "--decoder-args", "segmentation_channels=32"]
RATES, SEEDS, SELECT_SEED = (1e-3, 3e-3, 1e-2, 3e-2), (0, 1, 2), 1000


def rooms(nyuv2: Path, out: Path, images: int) -> Path:
    """The folder data set; made once."""
    folder = out / "rooms"
    if (folder / "dataset.toml").is_file():
        return folder
    for part in ("rgb", "depth", "label"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    splits = {
        "train": NYUv2(nyuv2, "train", 4, limit=images),
        "val": NYUv2(nyuv2, "val", 4, limit=images),
        "test": NYUv2(nyuv2, "test", 4),
    }
    for split, data in splits.items():
        for index, name in enumerate(data.ids):
            rgb, depth, label, factor = data.load(index)
            small = interpolate(rgb[None].float(), size=(240, 320), mode="area")[0].round().byte()
            metres = depth[0, ::2, ::2].astype(np.float64) * factor
            Image.fromarray(small.permute(1, 2, 0).numpy()).save(folder / "rgb" / f"{name}.png")
            Image.fromarray((metres * 1000).round().astype(np.uint16)).save(folder / "depth" / f"{name}.png")
            Image.fromarray(label[::2, ::2]).save(folder / "label" / f"{name}.png")
        (folder / f"{split}.txt").write_text("\n".join(data.ids) + "\n")
    names = json.dumps(splits["train"].class_names)
    (folder / "dataset.toml").write_text(f'name = "rooms"\nclass_names = {names}\nignore = 255\nx_scale = 0.001\n')
    return folder


def train(start: list[str], rooms: Path, folder: Path, epochs: int, rate: float, seed: int) -> list[str]:
    """`fusionzoo finetune` with this start, unless it is finished; the command."""
    command = ["fusionzoo", "finetune", *start, "--data", f"folder:{rooms}", "--val-split", "", "--epochs", str(epochs)]
    command += f"--lr {rate:g} --seed {seed} --amp --batch-size 10".split()
    if not (folder / "finished.pt").is_file():
        there = ["--resume"] if (folder / "state.pt").is_file() else []
        call = [sys.executable, "-c", "import sys; from fusionzoo.cli import main; main(sys.argv[1:])"]
        subprocess.run([*call, *command[1:], "--out", str(folder), *there], check=True, stdout=subprocess.DEVNULL)
    return command


def miou(folder: Path, rooms: Path, split: str) -> float:
    """Of a run's checkpoint, in percent; single scale 120x160, labels at 240x320."""
    data = parse_spec(f"folder:{rooms}", split=split, size=(120, 160))
    return 100 * evaluate(fusionzoo.from_pretrained(folder), data).miou


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nyuv2", type=Path)
    parser.add_argument("--encoder", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=20)
    args = parser.parse_args()
    new = CHECKPOINT.partition(".")[0]
    starts = {
        "checkpoint": [CHECKPOINT],
        "imagenet": [new, "--init", str(args.encoder), *DECODER],
        "noise": [new, *DECODER],
    }
    data = rooms(args.nyuv2, args.out, args.images)
    rows = {}
    for name, start in starts.items():
        tried = {}
        for rate in RATES:
            folder = args.out / f"{name}.s{SELECT_SEED}.lr{rate:g}"
            train(start, data, folder, args.epochs, rate, SELECT_SEED)
            tried[rate] = miou(folder, data, "val")
        rate = max(tried, key=lambda r: (tried[r], -r))
        found = []
        for seed in SEEDS:
            folder = args.out / f"{name}.s{seed}.lr{rate:g}"
            command = train(start, data, folder, args.epochs, rate, seed)
            found.append(miou(folder, data, "test"))
        shown = " ".join(command).replace(str(data), "ROOMS").replace(str(args.encoder), "ENCODER")
        rows[name] = {"validation": tried, "learning_rate": rate, "test": found, "command": shown}
        mean, low, high = statistics.fmean(found), min(found), max(found)
        print(f"{name:10} lr {rate:g}: {mean:.2f} ({low:.2f} to {high:.2f})", flush=True)
    ahead = {
        other: interval([a - b for a, b in zip(rows["checkpoint"]["test"], rows[other]["test"], strict=True)])
        for other in ("imagenet", "noise")
    }
    for other, (mean, low, high) in ahead.items():
        print(f"checkpoint - {other}: {mean:+.2f} points (95 %: {low:+.2f} to {high:+.2f})")
    result = {"images": args.images, "epochs": args.epochs, "seeds": SEEDS, "starts": rows, "ahead": ahead,
              "test_images": len((data / "test.txt").read_text().split()), "torch": torch.__version__}  # fmt: skip
    atomic_write(args.out / "finetune.json", dump_json(result, indent=1))


if __name__ == "__main__":
    main()
