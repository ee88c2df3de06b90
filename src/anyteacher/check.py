"""`anyteacher data check`: what a data set holds, and what is broken, before hours are spent."""

from collections.abc import Iterable

from rich.console import Console
from rich.progress import track

from anyteacher.data.inventory import Inventory, inventories, stored
from anyteacher.data.loading import DataModule
from anyteacher.facts import Facts
from anyteacher.report import Table, print_table

_SHOWN = 20  # broken files that are named; the rest is counted
_NONE = "–"


def check(data: DataModule, console: Console) -> bool:
    """Reads all samples and prints a table; says whether all can be read.

    Args:
        data: The data set.
        console: Where to print.

    Raises:
        DataError: when files are missing.
    """
    found: dict[str, Inventory] = {}
    for name, samples in stored(data):
        found[name] = Inventory()
        looks: Iterable[Inventory] = inventories(samples, data.num_workers)
        if console.is_terminal:
            count = len(samples)  # type: ignore[arg-type]
            looks = track(looks, f"Reading {name}", count, console=console)
        for look in looks:
            found[name].add(look)
    print_table(table(found, data.facts()), console)
    broken = [problem for inventory in found.values() for problem in inventory.broken]
    for problem in broken[:_SHOWN]:
        console.print(f"broken: {problem}", markup=False, highlight=False, soft_wrap=True)
    if len(broken) > _SHOWN:
        console.print(f"… and {len(broken) - _SHOWN} more.", highlight=False)
    return not broken


def table(found: dict[str, Inventory], facts: Facts) -> Table:
    """The inventories of all splits side by side."""
    rows = [
        ["samples", *(f"{i.samples:,}" for i in found.values())],
        ["broken", *(f"{len(i.broken):,}" for i in found.values())],
        ["height and width", *(_sizes(i) for i in found.values())],
    ]
    for key in ("label", "segmentation"):
        if any(key in i.labels for i in found.values()):
            classes = facts.classes.get(key)
            rows.append([f"{key}: classes", *(_seen(i, key) for i in found.values())])
            if classes is not None:
                absent = [_absent(i, key, classes) for i in found.values()]
                rows.append([f"{key}: absent out of {classes}", *absent])
    if any("segmentation" in i.labels for i in found.values()):
        shares = [f"{i.ignored():.1%}" if i.labels else _NONE for i in found.values()]
        rows.append(["segmentation: pixels of no class", *shares])
    if any(i.pixels for i in found.values()):
        rows.append(["depth: range", *(_depths(i) for i in found.values())])
        known = [f"{i.known / i.pixels:.1%}" if i.pixels else _NONE for i in found.values()]
        rows.append(["depth: pixels that are known", *known])
    return Table(("", *found), rows, "What the data set holds")


def _sizes(inventory: Inventory) -> str:
    if inventory.smallest > inventory.largest:
        return _NONE
    least, most = (" x ".join(map(str, s)) for s in (inventory.smallest, inventory.largest))
    return least if least == most else f"{least} to {most}"


def _seen(inventory: Inventory, key: str) -> str:
    if key not in inventory.labels:
        return _NONE
    classes = inventory.classes(key)
    return f"{len(classes)}, from {classes[0]} to {classes[-1]}" if classes else "none"


def _absent(inventory: Inventory, key: str, count: int) -> str:
    if key not in inventory.labels:
        return _NONE
    absent = sorted(set(range(count)) - set(inventory.classes(key)))
    shown = ", ".join(map(str, absent[:8]))
    return f"{len(absent)}: {shown}{', …' if len(absent) > 8 else ''}" if absent else "none"


def _depths(inventory: Inventory) -> str:
    if not inventory.known:
        return _NONE
    return f"{inventory.nearest:.2f} m to {inventory.farthest:.2f} m"
