"""What the benchmarks have in common as commands: their options, and where the tables go."""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch
from rich.console import Console

from anyteacher.images import replacing
from anyteacher.report import Table, machine_facts, print_table
from benchmarks.timing import Settings


def run(
    measure: Callable[[Settings, list[str]], list[Table]],
    known: list[str],
    description: str,
    arguments: list[str] | None = None,
) -> None:
    """Measures the parts asked for, prints their tables, and writes them if asked."""
    parser = argparse.ArgumentParser(description=description.partition("\n")[0])
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(known)}; all unless named")
    parser.add_argument("--quick", action="store_true", help="a rough answer in a minute")
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn")
    parser.add_argument("--seconds", type=float, help="for each line of a table (10; quick: 1)")
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch on the CPU (1)")
    parser.add_argument("--clock", choices=["processor", "wall"], help="wall on a GPU, else not")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 …")
    parser.add_argument("--output", type=Path, help="a JSON file for the tables")
    options = parser.parse_args(arguments)
    if unknown := set(options.parts) - set(known):
        parser.error(f"unknown part {', '.join(sorted(unknown))}; choose of {', '.join(known)}")
    torch.set_num_threads(options.threads)
    clock = options.clock or ("processor" if options.device == "cpu" else "wall")
    seconds = options.seconds or (1.0 if options.quick else 10.0)
    settings = Settings(
        seconds,
        least_rounds=3 if options.quick else 7,
        clock=clock,
        device=options.device,
        seed=options.seed,
    )
    facts = machine_facts() | {"clock": clock, "seed": str(options.seed)}
    torch.manual_seed(options.seed)
    tables = measure(settings, options.parts or known)
    # Wide tables in a file or pipe; a terminal has the width it has.
    console = Console() if sys.stdout.isatty() else Console(width=180)
    for table in [Table(columns=["measured on", ""], rows=[*map(list, facts.items())]), *tables]:
        print_table(table, console)
    if options.output is not None:
        result = {"facts": facts, "settings": asdict(settings), "tables": [*map(asdict, tables)]}
        with replacing(options.output) as part:
            part.write_text(json.dumps(result, indent=2, ensure_ascii=False))
