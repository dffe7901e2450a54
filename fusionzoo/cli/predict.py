"""`fusionzoo predict RGB [X] --model NAME -o OUT`: class maps of images or folders, drawn over the colour images."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fusionzoo.cli.output import Pair as PairOption
from fusionzoo.cli.output import (
    align_option,
    device_option,
    empty_option,
    index_option,
    json_option,
    note,
    print_json,
    quiet_option,
    say,
    size_option,
)

if TYPE_CHECKING:
    from fusionzoo._explain import Explanation
    from fusionzoo._predict import Pair, Prediction, Predictor

__all__ = ["command"]


@click.command(name="predict")
@click.argument("rgb", type=click.Path(), required=False)
@click.argument("x", type=click.Path(), nargs=-1)
@click.option(
    "--x",
    "named",
    multiple=True,
    type=PairOption("NAME=FILE"),
    help="One of several modalities by its name, for example --x thermal=a.png; may be repeated.",
)
@click.option("--model", "name", required=True, help="Bundled checkpoint, folder or Hub name.")
@click.option("-o", "--output", type=click.Path(), help="The picture to write (PNG), or a folder.")
@click.option("--labels", type=click.Path(), help="Also write the class numbers, as grey PNG: a file, or a folder.")
@click.option(
    "--explain", type=click.Path(), help="Also draw which modality drives which pixel: a PNG file, or a folder."
)
@click.option(
    "--absence", default="mean", show_default=True, help="For --explain: mean, zero, noise, blur (see check)."
)
@click.option(
    "--method",
    default="modality",
    show_default=True,
    help="For --explain: modality, or what pixels of both inputs give by gradient, integrated, occlusion.",
)
@click.option("--class", "target", metavar="NAME", help="The class that pixels speak for.  [default: the largest]")
@click.option("--data", metavar="SPEC", help="Images of a data set instead: planted, folder:PATH, ... (list --data).")
@click.option("--split", help="Split of the data.  [default: test]")
@click.option("--limit", type=click.IntRange(min=1), help="Use at most so many images of --data, evenly spread.")
@click.option("--no-x", is_flag=True, help="Leave X out: the model's substitute for it stands in.")
@click.option("--no-rgb", is_flag=True, help="Leave rgb out: the model's substitute for it stands in.")
@align_option
@empty_option
@size_option
@click.option(
    "--x-scale", type=float, help="Stored x times this is metres. Default: 0.001 for 16-bit files, 1 for float files."
)
@click.option("--x-encoding", help="How 16-bit depth is packed: plain, sunrgbd (rotated bits) or swapped (bytes).")
@click.option("--x-kind", help="What X is: depth, hha, grey, thermal.  [default: what the model takes]")
@click.option("--intrinsics", type=float, nargs=4, metavar="FX FY CX CY", help="Of the camera, to make HHA of depth.")
@click.option("--camera", type=click.Choice(["nyuv2"]), help="A known camera instead.")
@click.option("--revision", help="Branch, tag or commit of a Hub repository.")
@index_option
@device_option
@click.option("--skip-existing", is_flag=True, help="Of a folder: leave out images whose picture is there already.")
@click.option(
    "--alpha", type=click.FloatRange(0, 1), default=0.55, show_default=True, help="Weight of the class colours."
)
@quiet_option
@json_option
def command(
    rgb: str | None,
    x: tuple[str, ...],
    named: tuple[tuple[str, str], ...],
    name: str,
    output: str | None,
    labels: str | None,
    explain: str | None,
    absence: str,
    method: str,
    target: str | None,
    data: str | None,
    split: str | None,
    limit: int | None,
    no_x: bool,
    no_rgb: bool,
    empty: str,
    intrinsics: tuple[float, float, float, float] | None,
    camera: str | None,
    revision: str | None,
    index: str | None,
    skip_existing: bool,
    alpha: float,
    quiet: bool,
    as_json_: bool,
    **reading: Any,
) -> None:
    """Segment images and draw the classes over them; without -o say the class of whole images.

    RGB is an image; X is aligned with it, pixel for pixel (depth: 16-bit millimetres, or metres as float TIFF or NPY; 0
    and NaN are missing). Without X the model's substitute for it stands in. Both may be folders with files of the same
    names; then the outputs are folders too. For a model with several modalities give them all in its order, or some
    of them by name, --x depth=FILE --x event=FILE.
    """
    if (rgb is None) == (data is None):
        raise click.UsageError("give RGB (and X), files or folders; or --data SPEC")
    if x and named:
        raise click.UsageError("give X in the model's order, or each by its name with --x; not both")
    files = {key: str(value) for key, value in named}
    if len(files) < len(named):
        raise click.UsageError("--x names a modality twice; give one file for each")
    if data is not None and named:
        raise click.UsageError("--x belongs to files; --data has its own")
    if data is None and (split is not None or limit is not None):
        raise click.UsageError("--split and --limit belong to --data")
    if intrinsics and camera:
        raise click.UsageError("give the camera once: --intrinsics FX FY CX CY, or --camera nyuv2")
    if no_x and no_rgb:
        raise click.UsageError("--no-x and --no-rgb leave nothing for the model; give one of them")
    if explain is not None and (no_x or no_rgb or empty == "keep" or (data is None and not x and not named)):
        raise click.UsageError("--explain takes each modality away by itself: give both, and no --no-x, --empty keep")
    if explain is None and (method != "modality" or target is not None):
        raise click.UsageError("--method and --class belong to --explain OUT; give that")
    many = data is not None or os.path.isdir(str(rgb))
    if output is None and (labels or explain or skip_existing):
        raise click.UsageError("--labels, --explain and --skip-existing are for pictures of classes of pixels: give -o")
    inputs = [] if data is not None else [str(rgb), *x, *files.values()]
    places = None if output is None else _Places(output, labels, explain, many, inputs)

    from fusionzoo._explain import check_method, explained
    from fusionzoo._predict import Predictor
    from fusionzoo.data.hha import NYU_CAMERA
    from fusionzoo.dissect.attribution.gradients import class_number
    from fusionzoo.errors import InputError
    from fusionzoo.hub import from_pretrained
    from fusionzoo.tasks import CLASSIFICATION

    check_method(method, absence, target)
    reading |= {"empty": empty, "camera": intrinsics or (NYU_CAMERA if camera else None)}
    without = "x" if no_x else "rgb" if no_rgb else None
    predictor = Predictor(from_pretrained(name, revision, index=index), without=without, **reading)
    of_image = predictor.task == CLASSIFICATION
    if output is None and not of_image:
        raise click.UsageError("Missing option '-o' / '--output'.")
    if output is not None and of_image:
        raise InputError(
            f"{name} says one class of the whole image, so there is no picture to draw: leave out -o and"
            " --labels, --explain, --skip-existing"
        )
    if target is not None:
        class_number(predictor.model, target)  # rather now than after the work
    pairs, count = _from_data(predictor, data, split, limit) if data is not None else _from_files(
        predictor, str(rgb), files if named else list(x) or None
    )  # fmt: skip
    others = list(predictor.modalities[1:])
    absent = [n for n in others if no_x or data is None and not x and n not in files]
    gone = absent if not no_rgb else ["rgb"] if absent != others else []  # neither is left: said below
    if gone:
        note(f"without {', '.join(gone)}: the model's substitute for {'it' if len(gone) == 1 else 'them'} stands in")
    skipped: list[str] = []
    bar = _progress(pairs, count, quiet or not many)
    todo = _todo(bar, places, skip_existing and many, skipped)
    facts: list[dict[str, Any]] = []
    words: list[str] = []
    with contextlib.closing(bar):  # its line ends before an error begins its own
        for pair in todo:
            ready = predictor.ready(pair) if many else predictor.only(pair)
            if ready is None:
                continue
            found = predictor.predicted(ready)
            facts.append({"model": name, **(_classes(found) if places is None else places.write(found, alpha))})
            if places is not None and explain is not None:
                made = explained(predictor, ready, absence, method, target)
                facts[-1]["explanation"] = places.write_explanation(pair.id, made)
                facts[-1] |= {"attribution": made.facts} if made.facts else {}
                words = made.words
    if as_json_:
        print_json(facts if many else facts[0])
    elif many and places is None:
        for fact in facts:
            best = fact["classes"][0]
            say(f"{fact['id']}  {100 * best['share']:5.1f} %  {best['name']}")
    elif many:
        for fact in facts:
            if "scene" in fact:
                say(f"{fact['id']}  {100 * fact['scene'][0]['probability']:5.1f} %  {fact['scene'][0]['name']}")
        more = (f" and class maps to {labels}" if labels else "") + (f", explanations to {explain}" if explain else "")
        say(f"wrote {len(facts)} pictures to {output}{more}")
        if skipped:
            say(f"{len(skipped)} were there already")
        if predictor.left_out:
            say(f"{len(predictor.left_out)} without any valid x left out: {', '.join(predictor.left_out)}")
    else:
        for sentence in words:
            say(sentence)
        for row in facts[0].get("scene", ())[:1]:
            say(f"scene: {row['name']}, {100 * row['probability']:.1f} %")
        for row in facts[0]["classes"]:
            say(f"{100 * row['share']:5.1f} %  {row['name']}")
        written = [facts[0][key] for key in ("output", "labels", "explanation") if key in facts[0]]
        if written:
            say("wrote " + " and ".join(written))


def _from_files(predictor: Predictor, rgb: str, given: Any) -> tuple[Iterator[Pair], int]:
    from fusionzoo.data.inputs import Pair, folder_pairs, named_x

    x = named_x(given, predictor.modalities[1:], rgb)
    if os.path.isdir(rgb):
        x = {name: place for name, place in x.items() if place is not None} if isinstance(x, dict) else x
        pairs = folder_pairs(rgb, x)
    else:
        pairs = [Pair(Path(rgb).stem, rgb, x)]
    return iter(pairs), len(pairs)


def _from_data(predictor: Predictor, spec: str, split: str | None, limit: int | None) -> tuple[Iterator[Pair], int]:
    from fusionzoo.data import parse_spec
    from fusionzoo.data.inputs import Pair

    more: dict[str, Any] = {"align": predictor.align or None}
    more["empty_depth"] = None if predictor.empty == "refuse" else "keep"
    found = parse_spec(spec, split=split, limit=limit, labels=False, **more)
    predictor.kind = predictor.kind or found.x_kind
    predictor.camera = predictor.camera or getattr(found, "camera", None)
    samples = (found[i] for i in range(len(found)))
    return (Pair(str(s["id"]), s["rgb"], s["x"]) for s in samples), len(found)


def _progress(pairs: Iterator[Pair], count: int, quiet: bool) -> Generator[Pair]:
    from tqdm import tqdm

    yield from tqdm(pairs, total=count, unit="image", disable=quiet)


def _todo(pairs: Iterator[Pair], places: _Places | None, skip_existing: bool, skipped: list[str]) -> Iterator[Pair]:
    """The pairs whose files are to be written; the ids of the others come into `skipped`."""
    for pair in pairs:
        if places is not None and skip_existing and places.done(pair.id):
            skipped.append(pair.id)
        else:
            yield pair


def _classes(prediction: Prediction) -> dict[str, Any]:
    """What --json says of the classes: shares of the pixels, or probabilities of the whole image's."""
    return {
        "id": prediction.id,
        "classes": [{"class": k, "name": n, "share": share} for k, n, share in prediction.shares()],
        **({"scene": [{"name": n, "probability": p} for n, p in prediction.scene]} if prediction.scene else {}),
    }


class _Places:
    """Where the pictures and class maps go; what cannot be meant is refused before any work.

    Args:
        output, labels, explain: a file, or with `many` images a folder; a folder is also right for one image.
        many: whether there are several images.
        inputs: which must not be written over.
    """

    def __init__(self, output: str, labels: str | None, explain: str | None, many: bool, inputs: list[str]) -> None:
        from fusionzoo.errors import InputError

        self.many = many
        self.folder = {
            place: many or os.path.isdir(place) or place.endswith(("/", os.sep))
            for place in (output, labels, explain)
            if place is not None
        }
        self.output, self.labels, self.explain = output, labels, explain
        for place, folder in self.folder.items():
            if not folder and not place.lower().endswith(".png"):
                raise InputError(f"{place}: the picture is written as PNG; give a name that ends in .png, or a folder")
            if folder and os.path.exists(place) and not os.path.isdir(place):
                raise InputError(f"{place} is a file; for several images give a folder")
            for given in inputs:
                if os.path.exists(place) and os.path.exists(given) and os.path.samefile(place, given):
                    raise InputError(f"{place} is an input and would be written over; give another place")
            target = Path(place) if folder else Path(place).parent
            try:
                target.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise InputError(f"{place} cannot be written: {error.strerror or error}") from error
            if not os.access(target, os.W_OK):
                raise InputError(f"{place} cannot be written: no permission to write in {target}")
        named = [p for p in (output, labels, explain) if p is not None]
        for i, place in enumerate(named):
            if os.path.abspath(place) in map(os.path.abspath, named[:i]):
                raise InputError(f"{place} is named twice (-o, --labels, --explain); give two places")

    def _file(self, place: str, name: str) -> Path:
        safe = name.replace("/", "_").replace(os.sep, "_")
        return Path(place) / f"{safe}.png" if self.folder[place] else Path(place)

    def done(self, name: str) -> bool:
        """Whether all files of an image are there."""
        return all(self._file(place, name).is_file() for place in self.folder)

    def write_explanation(self, name: str, explanation: Explanation) -> str:
        """The picture of an explanation; where it is."""
        assert self.explain is not None
        place = self._file(self.explain, name)
        explanation.save(place)
        return str(place)

    def write(self, prediction: Prediction, alpha: float) -> dict[str, Any]:
        """The files of one image; what --json says of it."""
        picture = self._file(self.output, prediction.id)
        facts: dict[str, Any] = {"id": prediction.id, "output": str(picture)}
        if self.labels is not None:
            facts["labels"] = str(self._file(self.labels, prediction.id))
            prediction.save_labels(facts["labels"])
        prediction.save(picture, alpha)
        return {**facts, "size": list(prediction.labels.shape), **_classes(prediction)}
