"""What distillation costs: ratios measured in one run, the sides taking turns.

    python -m benchmarks.cost            # about eight minutes
    python -m benchmarks.cost --quick    # about one minute, rough

Absolute times of one machine say little about another, and on a shared machine little about the
next minute. So everything compared runs in the same process, round by round, in an order that turns
every round; a ratio is the median over rounds of the ratio within a round. On a CPU the time is the
processor time of one thread, which other people's programs disturb less than the clock on the wall.
"""

from functools import partial

from anyteacher.report import Table
from benchmarks.command import run
from benchmarks.links import PROJECTED, SHAPES, LinkAlone, Shape
from benchmarks.memory import kept_bytes
from benchmarks.timing import Rounds, Settings
from benchmarks.workloads import PAIRS, Pair, Steps, encoder_decoders

STEP_GOAL, LINK_GOAL = 1.03, 0.75


def whole_steps(pairs: list[Pair], settings: Settings) -> Table:
    """Table of whole training steps against their floor."""
    rows: list[list[str | float]] = []
    for pair in pairs:
        steps = Steps(pair, settings.device)
        kept = {name: kept_bytes(loss) for name, loss in steps.losses().items()}
        rounds = Rounds(steps.sides(), settings, 5 * settings.seconds)
        others = ("inverted", "traditional", "by hand", "floor again")
        ratios = [str(rounds.ratio(name, "floor")) for name in others]
        extra = (kept["inverted"] - kept["floor"]) / 2**20
        counted = len(rounds.seconds["floor"])
        milliseconds = rounds.milliseconds("floor")
        rows.append([pair.name, milliseconds, *ratios, f"{extra:.2f}", counted])
    return Table(
        columns=[
            "pair",
            "floor ms",
            "inverted / floor",
            "traditional / floor",
            "by hand / floor",
            "floor / floor",
            "kept MiB",
            "rounds",
        ],
        rows=rows,
        caption="Whole training step with one link",
        note=f"Goal: inverted / floor at most {STEP_GOAL}. The floor is the student's forward, "
        "backward and AdamW, and the teacher's forward up to the tap. Projection, loss, their "
        "backward and the projector's AdamW are the numerator's. Median [95 % interval]. "
        "floor / floor compares two equal floors: how far off 1 the noise goes. By hand is "
        "the inverted link without the library. kept: extra memory held for the backward of the "
        "inverted link.",
    )


def links_alone(shapes: list[Shape], settings: Settings) -> Table:
    """Table of projection and loss, inverted against traditional."""
    rows: list[list[str | float]] = []
    for shape in shapes:
        alone = LinkAlone(shape, settings.device)
        kept = [kept_bytes(partial(alone.loss, way)) / 2**20 for way in PROJECTED]
        sides = {str(way): partial(alone.gradients, way) for way in PROJECTED}
        rounds = Rounds(sides, settings, settings.seconds)
        ratio = rounds.ratio(*PROJECTED)
        times = [rounds.milliseconds(way) for way in PROJECTED]
        rows.append([str(shape), str(ratio), *times, *kept, len(rounds.seconds["inverted"])])
    return Table(
        columns=[
            "features",
            "inverted / traditional",
            "inverted ms",
            "traditional ms",
            "inverted kept MiB",
            "traditional kept MiB",
            "rounds",
        ],
        rows=rows,
        caption="Projection and loss alone, forward and backward (Linear, MSE)",
        note=f"Goal: at most {LINK_GOAL}. Median [95 % interval]. kept: memory held for "
        "the backward, the features themselves included.",
    )


def library_overhead(pairs: list[Pair], settings: Settings) -> Table:
    """Table of `Distiller.forward` against the same computation written by hand."""
    rows: list[list[str | float]] = []
    for pair in pairs:
        steps = Steps(pair, settings.device)
        losses = steps.losses()
        sides = {"by hand": losses["by hand"], "library": losses["inverted"]}
        rounds = Rounds(sides, settings, settings.seconds)
        rows.append(
            [
                pair.name,
                rounds.milliseconds("by hand"),
                str(rounds.ratio("library", "by hand")),
                rounds.more("library", "by hand"),
                len(rounds.seconds["library"]),
            ]
        )
    return Table(
        columns=["pair", "by hand ms", "library / by hand", "extra µs a step", "rounds"],
        rows=rows,
        caption="The library itself: forward of student, teacher and one inverted link",
        note="The backward passes are the same. Median [95 % interval]. The tiny pair shows "
        "the fixed cost of a step, which the others hide in their noise.",
    )


def measure(settings: Settings, parts: list[str]) -> list[Table]:
    """The tables of the parts asked for."""
    tables = []
    if "step" in parts:
        tables.append(whole_steps([make() for make in PAIRS], settings))
    if "link" in parts:
        tables.append(links_alone(list(SHAPES), settings))
    if "library" in parts:
        pairs = [encoder_decoders(2, 16, 8), encoder_decoders()]
        tables.append(library_overhead(pairs, settings))
    return tables


def main(arguments: list[str] | None = None) -> None:
    """Measures, prints the tables, and writes them if asked."""
    run(arguments, __doc__, ["step", "link", "library"], measure)


if __name__ == "__main__":
    main()
