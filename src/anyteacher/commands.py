"""What the subcommands do, once their settings are read."""

import importlib
import json
import time
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import torch
from jsonargparse import ArgumentParser, Namespace
from rich.console import Console
from torch import nn

from anyteacher import experiment
from anyteacher.checkpoints import Checkpoints
from anyteacher.data import write_contact_sheet
from anyteacher.data.rooms import SPLITS
from anyteacher.demo import run_demo
from anyteacher.errors import ConfigError, DataError, did_you_mean
from anyteacher.images import replacing
from anyteacher.losses import FeatureLoss
from anyteacher.predict import predict_folder
from anyteacher.projectors import Projector
from anyteacher.report import Table, print_table
from anyteacher.survey import Candidate, suggest, survey
from anyteacher.teacher import Teacher
from anyteacher.teachers import RANDOM, Timm, Torchvision, Transformers
from anyteacher.weights import load_weights

_CONSOLE = Console()
_NOT_SAVED = ("config", "output", "resume", "checkpoint_every", "run", "weights")


def _instantiate(parser: ArgumentParser, settings: Namespace) -> experiment.Experiment:
    experiment.set_threads(settings.threads)
    experiment.seed_all(settings.seed)
    made = parser.instantiate(settings)
    names = [field.name for field in fields(experiment.Experiment)]
    return experiment.Experiment(**{name: getattr(made, name) for name in names})


def _by_name(value: Any) -> Any:
    """The settings with default objects of a link, such as its loss, given by their class."""
    if isinstance(value, Namespace):
        return Namespace({key: _by_name(item) for key, item in vars(value).items()})
    if isinstance(value, list):
        return [_by_name(item) for item in value]
    if isinstance(value, FeatureLoss | Projector):
        return Namespace(class_path=f"{type(value).__module__}.{type(value).__qualname__}")
    return value


def _trainer_options(settings: Namespace) -> dict[str, object]:
    return dict(vars(settings.trainer))


def fit(parser: ArgumentParser, settings: Namespace) -> int:
    """Trains, and tests the best student."""
    made = _instantiate(parser, settings)
    start = time.monotonic()
    kept = settings.clone()
    for name in _NOT_SAVED:
        kept.pop(name, None)
    experiment.check_new(settings.output, resume=settings.resume)
    settings.output.mkdir(parents=True, exist_ok=True)
    with replacing(settings.output / experiment.CONFIG) as temporary:
        temporary.write_text(parser.dump(_by_name(kept)))
    module = experiment.fit(
        made,
        settings.output,
        resume=settings.resume,
        checkpoint_every=settings.checkpoint_every,
        trainer=_trainer_options(settings),
    )
    if module.trainer.is_global_zero:
        kept = next(c for c in module.trainer.callbacks if isinstance(c, Checkpoints))
        found = "" if kept.best is None else f" Best {kept.monitor}: {kept.best:.4f}."
        minutes = (time.monotonic() - start) / 60
        _CONSOLE.print(
            f"Trained in {minutes:.1f} minutes.{found} The run is in {settings.output}; "
            f"`anyteacher test {settings.output}` measures it on the test data.",
            highlight=False,
        )
    return 0


def evaluation(split: str) -> Callable[[ArgumentParser, Namespace], int]:
    """A command that prints the metrics on a split."""

    def run(parser: ArgumentParser, settings: Namespace) -> int:
        made = _instantiate(parser, settings)
        weights = settings.weights or settings.run / experiment.STUDENT
        values = experiment.evaluate(made, weights, split=split, trainer=_trainer_options(settings))
        rows = tuple((name, value) for name, value in values.items())
        print_table(Table(("metric", split), rows, f"{type(made.task).__name__}", decimals=4))
        return 0

    return run


def predict(parser: ArgumentParser, settings: Namespace) -> int:
    """Predicts a folder of images; those that cannot be read are named, and the rest goes on."""
    made = _instantiate(parser, settings)
    load_weights(made.student, settings.weights or settings.run / experiment.STUDENT)
    information = json.loads((settings.run / experiment.INFO).read_text())
    channels, *size = information["image"]
    resolution = min(size) if settings.resolution < 0 else settings.resolution
    alone = experiment.Experiment(made.task, made.student, made.data, images_norm=made.images_norm)
    module = alone.module().to("cuda" if torch.cuda.is_available() else "cpu")
    done = failed = 0
    for result in predict_folder(
        module, settings.images, settings.output, channels=channels, resolution=resolution
    ):
        if result.problem:
            failed += 1
            _CONSOLE.print(f"[red]not read[/]: {result.problem}", highlight=False)
        else:
            done += 1
    _CONSOLE.print(f"{done} images predicted into {settings.output}, {failed} not read.")
    if not done:
        raise DataError(f"No image in '{settings.images}' could be read.")
    return 0


def taps(parser: ArgumentParser, settings: Namespace) -> int:
    """Lists the candidate layers of one model, or of two with suggested pairs."""
    example = torch.rand(2, settings.channels, *settings.size)
    found: dict[str, list[Candidate]] = {}
    for name in filter(None, (settings.model, settings.student)):
        teacher = _named_model(name)
        with torch.no_grad():
            found[name] = survey(teacher.model, teacher.prepare(example))
        print_table(_candidates(name, found[name]), _CONSOLE)
    if settings.student:
        pairs = suggest(found[settings.student], found[settings.model])
        lines = [f"- student: {mine.path}\n  teacher: {theirs.path}" for mine, theirs in pairs]
        _CONSOLE.print("Links to start from, for `distillation.links`:")
        _CONSOLE.print("\n".join(lines) or "(none found)", highlight=False)
    return 0


def _candidates(name: str, candidates: list[Candidate]) -> Table:
    return Table(
        ("tap", "layout", "shape", "stride", "parameters"),
        tuple(
            (
                c.path,
                c.kind,
                " x ".join(str(n) for n in c.shape),
                "" if c.stride is None else f"{c.stride:g}",
                f"{c.parameters:,}",
            )
            for c in candidates
        ),
        f"Layers of {name}",
    )


def _named_model(name: str) -> Teacher:
    kind, _, rest = name.partition(":")
    by_kind = {"timm": Timm, "torchvision": Torchvision, "transformers": Transformers}
    if rest and kind in by_kind:
        teacher: Teacher = by_kind[kind](rest, weights=RANDOM)
        return teacher
    if rest:
        raise ConfigError(f"No models are known from '{kind}'. {did_you_mean(kind, by_kind)}")
    module, _, attribute = name.rpartition(".")
    try:
        made = getattr(importlib.import_module(module), attribute)()
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"'{name}' is neither timm:NAME, torchvision:NAME, transformers:FOLDER nor the import "
            f"path of a model ({error})."
        ) from error
    except TypeError as error:
        raise ConfigError(
            f"'{name}' cannot be called without arguments ({error}). Give the path of a function "
            "that builds the model."
        ) from error
    if not isinstance(made, nn.Module):
        raise ConfigError(f"'{name}' gives a {type(made).__name__}, not a torch module.")
    return Teacher(made)


def rooms(parser: ArgumentParser, settings: Namespace) -> int:
    """Writes a contact sheet of generated scenes."""
    if settings.split not in SPLITS:
        raise ConfigError(f"No split '{settings.split}'. {did_you_mean(settings.split, SPLITS)}")
    path = write_contact_sheet(
        settings.show,
        split=settings.split,
        count=settings.count,
        size=settings.size,
        seed=settings.seed,
    )
    _CONSOLE.print(f"{settings.count} scenes are in {path}.", highlight=False)
    return 0


def demo(parser: ArgumentParser, settings: Namespace) -> int:
    """Runs the demonstration."""
    experiment.set_threads(settings.threads)
    run_demo(settings.output, short=settings.quick)
    return 0
