"""What is to be run next, found from the records alone: so a grid goes on wherever it stopped.

Teachers come first, and the student alone, for each of whose choices every selection seed is run.
Then every other arm, with the learning rate of the student alone: first its weight, and with the
best weight its tap and form. Where that weight is the smallest or the largest that was tried,
further ones are, as often as the grid says. Then the comparison, each arm with what was best for it
on the validation data. The test data are read in the comparison alone, and for the scores of the
teachers, which nothing is chosen by.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from statistics import fmean
from typing import get_args

from anyteacher.bench.cell import Arm, Cell, Choice, Stage
from anyteacher.bench.grid import SELECTION_SEED, Grid
from anyteacher.bench.problems import problem
from anyteacher.bench.record import Record

_STAGES = get_args(Stage)


class Plan:
    """A grid and what is known of its runs.

    Args:
        grid: All that is to be run.
        records: By their keys; what failed counts as not run.
    """

    def __init__(self, grid: Grid, records: Mapping[str, Record]) -> None:
        self.grid = grid
        self.records = {k: record for k, record in records.items() if record.status != "failed"}
        self.arms, self.teachers = grid.arms(), grid.teacher_cells()
        self._chosen: dict[Arm, Choice | None] = {}

    def ready(self) -> list[Cell]:
        """The runs that are still to be made and wait for no other, in the order to make them.

        Within a stage seed by seed: what is compared is run close together, so that a machine that
        is slower for a while is so for all arms, and a grid that is cut short has seeds of all.
        """
        left = [cell for cell in self.possible() if cell.key not in self.records]
        return sorted(left, key=lambda cell: (_STAGES.index(cell.stage), cell.seed))

    def possible(self) -> Iterator[Cell]:
        """The runs that wait for no other, made or not."""
        yield from self.teachers.values()
        for arm in self.arms:
            yield from self.selection(arm)
        for arm in self.arms:
            yield from self.comparison(arm)

    def made(self) -> dict[str, Record]:
        """The records of the grid by their keys; what else is known belongs to other grids."""
        keys = (cell.key for cell in self.possible())
        return {key: self.records[key] for key in keys if key in self.records}

    @property
    def count(self) -> int:
        """How many runs there are in all, as far as is known: a choice at an end adds some."""
        seeds = self.grid.selection_seeds
        options = sum(
            max(len(self.weighing(arm)), seeds * len(self.grid.choices(arm, Choice())))
            + seeds * len(self.grid.further_choices(arm, Choice()))
            for arm in self.arms
        )
        compared = sum(count for _, count in self.arms.values())
        return len(self.teachers) + options + compared

    def waiting(self) -> list[Arm]:
        """The arms that cannot be compared: runs before them are missing or have diverged."""
        return [arm for arm in self.arms if self.chosen(arm) is None]

    def never_compared(self) -> list[Arm]:
        """Arms whose teacher, or all of whose choices, diverged; empty while runs are left."""
        return [] if self.ready() else self.waiting()

    @property
    def complete(self) -> bool:
        """Whether some of its runs are made and none is left to make."""
        return bool(self.made()) and not self.ready()

    def selection(self, arm: Arm) -> list[Cell]:
        """The runs among which an arm's settings are chosen; none while it waits for others."""
        tries = self.weighing(arm)
        best = self._best(tries)
        if best is not None:
            tries += self._tries(arm, self.grid.further_choices(arm, best))
        return tries

    def weighing(self, arm: Arm) -> list[Cell]:
        """The first of them: among rates and decays of the student alone, of others the weight."""
        choices = self._choices(arm)
        while choices:
            tries = self._tries(arm, choices)
            best = self._best(tries)
            wider = [] if best is None else self.grid.wider_choices(arm, choices, best)
            if not wider:
                return tries
            choices = [*choices, *wider]
        return []

    def _tries(self, arm: Arm, choices: list[Choice]) -> list[Cell]:
        seeds = range(SELECTION_SEED, SELECTION_SEED + self.grid.selection_seeds)
        return [self._cell("selection", arm, choice, seed) for choice in choices for seed in seeds]

    def comparison(self, arm: Arm) -> list[Cell]:
        """The runs of an arm that are compared; none while its settings are not chosen."""
        choice = self.chosen(arm)
        if choice is None:
            return []
        seeds = self.grid.compared_seeds(self.arms[arm][1])
        return [self._cell("comparison", arm, choice, seed) for seed in seeds]

    def compared(self, arm: Arm) -> dict[int, Record]:
        """The records of an arm that are compared, by their seeds; what is missing is left out."""
        cells = self.comparison(arm)
        return {c.seed: self.records[c.key] for c in cells if c.key in self.records}

    def chosen(self, arm: Arm) -> Choice | None:
        """The settings that were best for an arm, by the mean deciding metric over the seeds.

        None while one of the runs is missing. What diverged with any seed is not chosen; where all
        did, neither is the arm ever compared.
        """
        if arm not in self._chosen:
            self._chosen[arm] = self._best(self.selection(arm))
        return self._chosen[arm]

    def _best(self, cells: list[Cell]) -> Choice | None:
        """The best of the settings that were tried; None where a try is missing or all diverged."""
        if any(cell.key not in self.records for cell in cells):
            return None
        tried = self.validated(cells)
        means = {choice: fmean(by_seed.values()) for choice, by_seed in tried.items()}
        known = [choice for choice, mean in means.items() if not math.isnan(mean)]
        if not known:
            return None
        best = max if problem(cells[0].arm.task).mode == "max" else min
        return best(known, key=means.__getitem__)

    def validated(self, cells: Iterable[Cell]) -> dict[Choice, dict[int, float]]:
        """The deciding metric on the validation data by choice and seed, of the runs that are made.

        Both in the order of the runs.
        """
        found: dict[Choice, dict[int, float]] = {}
        for cell in cells:
            if cell.key in self.records:
                found.setdefault(cell.choice, {})[cell.seed] = self.records[cell.key].validated
        return found

    def _choices(self, arm: Arm) -> list[Choice]:
        scale = self.arms[arm][0]
        base = Choice() if arm.alone else self.chosen(self.grid.arm(scale, arm.task))
        teacher = self._teacher(arm)
        if base is None or not (teacher is None or self._is_done(teacher)):
            return []
        return self.grid.choices(arm, base)

    def _is_done(self, cell: Cell) -> bool:
        return cell.key in self.records and self.records[cell.key].status == "done"

    def _teacher(self, arm: Arm) -> Cell | None:
        return self.teachers.get((arm.teacher, arm.teacher_network))

    def _cell(self, stage: Stage, arm: Arm, choice: Choice, seed: int) -> Cell:
        _, budget = self.arms[arm][0].of(arm.task)
        return Cell(stage, arm, choice, seed, budget, self._teacher(arm))
