"""`anyteacher bench`: runs a grid, gathers its records, and says what they say of the claims."""

from collections.abc import Mapping
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from anyteacher.bench.cell import Cell
from anyteacher.bench.evidence import outcomes
from anyteacher.bench.grid import Grid
from anyteacher.bench.grids import GRIDS, grid_named
from anyteacher.bench.page import write_pages
from anyteacher.bench.plan import Plan
from anyteacher.bench.record import Record, gather, known_records, read_records
from anyteacher.bench.runner import Crew, is_mine, parse_shard
from anyteacher.bench.tables import comparisons_table, summary
from anyteacher.bench.tally import Tally
from anyteacher.bench.verdict import power
from anyteacher.bench.worker import Command
from anyteacher.errors import ConfigError
from anyteacher.report import Table, print_table, say, usable_cores

_WAITS = 3  # the status of a share that waits for others; 2 is for wrong input
_EFFECTS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)
_SEEDS = (5, 10, 20)


def bench(call: Command, settings: Namespace) -> int:
    """Does what was asked; status 1 of `run`: a run has failed; 3: the rest waits for others.

    Args:
        call: Runs a subcommand of `anyteacher` with its arguments.
        settings: Those of the command, and of what was asked in a part of its name.
    """
    asked = settings.subcommand
    return _ACTIONS[asked](call, settings[asked])


def _run(call: Command, settings: Namespace) -> int:
    grid, shard = grid_named(settings.grid), parse_shard(settings.shard)
    if settings.jobs < 0:
        raise ConfigError(f"--jobs counts runs at once, 0 for one a core; got {settings.jobs}.")
    _check_folder(settings.output, "runs")
    jobs = settings.jobs or usable_cores()
    failed = run_grid(grid, settings.output, jobs=jobs, shard=shard, call=call)
    status = _tell_what_is_left(grid, known_records(settings.output), failed)
    say(f"The records are in {settings.output}; `anyteacher bench claims` reads them.")
    return status


def _tell_what_is_left(
    grid: Grid, known: Mapping[str, Record], failed: Mapping[str, Record]
) -> int:
    """Says what went wrong and what is not made; returns the status of the command."""
    plan = Plan(grid, known)
    ready = {cell.key for cell in plan.ready()}
    for record in failed.values():
        say(f"failed: {named(record)} (runs/{record.key}): {record.error}")
    if failed:
        say(f"{len(failed)} runs failed. The same command tries them again.")
        return 1
    if others := [key for key in sorted(ready) if key in known]:
        say(
            f"{len(others)} runs of other shards failed (runs/{', runs/'.join(others)}), for which "
            "the rest may have to wait. Start those shards again."
        )
        return 1
    if ready:
        say(
            f"{plan.count - len(plan.made())} runs of the grid are left. Those of this shard wait "
            "for others: start it again when the others have stopped."
        )
        return _WAITS
    for arm in plan.never_compared():
        say(f"not compared: {arm.task}, {arm.name}: its teacher or all of its choices diverged.")
    return 0


def run_grid(
    grid: Grid, folder: Path, *, jobs: int, shard: tuple[int, int], call: Command
) -> dict[str, Record]:
    """Makes the runs of a grid that are not made yet, but for those that wait for other machines.

    Args:
        grid: Which.
        folder: Of the benchmark.
        jobs: Runs at once.
        shard: This machine's share.
        call: Runs a subcommand of `anyteacher` with its arguments.

    Returns:
        The records of the runs that have failed, by their keys.
    """
    failed: dict[str, Record] = {}
    plan = Plan(grid, known_records(folder))
    done = len(plan.made()) // shard[1]
    with Crew(folder, jobs, call) as crew, Tally(grid.name, done) as tally:
        while cells := _next(plan, shard, failed):
            tally.expect(-(-plan.count // shard[1]))
            for record in crew.run(cells):
                if record.status == "failed":
                    failed[record.key] = record
                    tally.say(f"failed: {named(record)}")
                tally.count(record.cell["stage"])
            plan = Plan(grid, known_records(folder))
        if not plan.ready():  # a share of the runs need not be the whole number that was expected
            tally.expect(tally.done)
    return failed


def _next(plan: Plan, shard: tuple[int, int], failed: Mapping[str, Record]) -> list[Cell]:
    return [cell for cell in plan.ready() if is_mine(cell, shard) and cell.key not in failed]


def _check_folder(place: Path, what: str) -> None:
    if place.exists() and not place.is_dir():
        raise ConfigError(f"The {what} go to a folder, and '{place}' is a file.")


def named(record: Record) -> str:
    """A run in a few words."""
    cell = record.cell
    return f"{cell['stage']}, {cell['task']}, {cell['name']}, seed {cell['seed']}"


def _gather(call: Command, settings: Namespace) -> int:
    if settings.output.is_dir():
        raise ConfigError(
            f"The records go to a file, and '{settings.output}' is a folder. Give a name in it, "
            f"such as {settings.output / 'records.jsonl'}."
        )
    records = _plan(settings).made() if settings.grid else read_records(settings.records)
    gather(records.values(), settings.output)
    say(f"{len(records)} records are in {settings.output}.")
    return 0


def _plan(settings: Namespace) -> Plan:
    records = read_records(settings.records)
    plan = Plan(grid_named(settings.grid), records)
    if not plan.made():
        theirs = [name for name, grid in GRIDS.items() if Plan(grid, records).made()]
        named = f"They are of {' and '.join(theirs)}" if theirs else "They are of no grid of today"
        raise ConfigError(
            f"None of the {len(records)} records at '{settings.records}' is of the grid "
            f"'{settings.grid}'. {named}: --grid says which."
        )
    if not plan.complete:
        whole = [name for name, grid in GRIDS.items() if Plan(grid, records).complete]
        if whole:
            say(
                f"The grid '{settings.grid}' is not complete here, and {' and '.join(whole)} "
                f"{'is' if len(whole) == 1 else 'are'}: --grid says which."
            )
    return plan


def _claims(call: Command, settings: Namespace) -> int:
    plan = _plan(settings)
    found = outcomes(plan)
    say(f"{len(plan.made())} of {plan.count} runs of the grid {plan.grid.name} are made.")
    for outcome in found:
        print_table(comparisons_table(outcome))
    print_table(summary(found))
    return 0


def _report(call: Command, settings: Namespace) -> int:
    _check_folder(settings.output, "pages")
    for path in write_pages(_plan(settings), settings.output):
        say(f"Written: {path}")
    return 0


def _power(call: Command, settings: Namespace) -> int:
    if settings.family < 1:
        raise ConfigError(f"A family has one comparison or more, got {settings.family}.")
    rows: list[list[str | float]] = [
        [f"{effect:g}", *(power(effect, seeds, settings.family) for seeds in _SEEDS)]
        for effect in _EFFECTS
    ]
    note = (
        "Of one comparison, by simulation. At no effect: how often any of the family is falsely "
        "supported."
    )
    columns = ["effect, standard deviations", *(f"{seeds} seeds" for seeds in _SEEDS)]
    title = f"How often `better` is supported in a family of {settings.family}"
    print_table(Table(columns, rows, title, note))
    return 0


_ACTIONS = {
    "run": _run,
    "gather": _gather,
    "claims": _claims,
    "report": _report,
    "power": _power,
}


def add_actions(parser: ArgumentParser) -> None:
    """Adds what can be asked, each with its settings, to the parser of the command."""
    actions = parser.add_subcommands(required=True)

    def action(name: str, text: str) -> ArgumentParser:
        made = ArgumentParser(description=text, exit_on_error=False, print_config=None)
        actions.add_subcommand(name, made, help=text)
        return made

    run = action("run", "Make the runs of a grid that are not made yet.")
    run.add_argument("--grid", default="quick", help=f"{', '.join(GRIDS)}.")
    run.add_argument("--output", type=Path, default=Path("runs/bench"), help="Folder to write.")
    run.add_argument("--jobs", type=int, default=0, help="Runs at a time; 0: one a core.")
    run.add_argument("--shard", default="0/1", help="i/n: this machine's share, i from 0.")
    for name, text in (
        ("claims", "Print what the records say of each claim."),
        ("report", "Write the page, and the same as Markdown."),
    ):
        made = action(name, text)
        made.add_argument("records", type=Path, help="Folder of a run, or gathered records.")
        made.add_argument("--grid", default="quick", help="The grid that was run.")
        if name == "report":
            made.add_argument("--output", type=Path, default=Path(), help="Folder to write to.")
    collect = action("gather", "Put the records of a folder into one file of JSON lines.")
    collect.add_argument("records", type=Path, help="Folder of a run.")
    collect.add_argument("--output", type=Path, default=Path("records.jsonl"), help="The file.")
    collect.add_argument("--grid", default="", help="Only the runs of this grid; all if not given.")
    simulate = action("power", "Simulate how often the rule finds an effect.")
    simulate.add_argument("--family", type=int, default=10, help="Comparisons in the family.")
