"""`anyteacher data check`: what a data set holds, and what is broken, before hours are spent."""

from collections.abc import Iterable

from rich.console import Console
from rich.progress import track

from anyteacher.data.inventory import LABEL_KEYS, Inventory, inventories, stored
from anyteacher.data.loading import DataModule
from anyteacher.facts import Facts
from anyteacher.report import Table, print_table

SHOWN = 20
"""How many broken files are named; the rest is counted."""

_NONE = "–"


def check(data: DataModule, console: Console, shown: int = SHOWN) -> bool:
    """Reads all samples and prints a table; says whether all can be read, and teach something.

    Args:
        data: The data set.
        console: Where to print.
        shown: How many broken files are named, and how many of which nothing is known.

    Raises:
        DataError: when whole folders or lists are missing.
        ConfigError: when a setting is, without which nothing can be read.
    """
    facts, found = data.facts(), dict[str, Inventory]()
    for name, samples in stored(data):
        found[name] = Inventory()
        looks: Iterable[Inventory] = inventories(
            samples, data.num_workers, max_depth=facts.max_depth
        )
        if console.is_terminal:
            count = len(samples)  # type: ignore[arg-type]
            looks = track(looks, f"Reading {name}", count, console=console)
        for look in looks:
            found[name].add(look)
    print_table(table(found, facts), console)
    without = useless(found, facts)
    broken = [f"broken: {what}" for inventory in found.values() for what in inventory.broken]
    blank = [f"unknown: {what}" for inventory in found.values() for what in inventory.blank]
    _say([*without, *absent(found, facts)], console)
    # Where all of a split is unknown, that was said already.
    for lines in (broken, [] if without else blank):
        _say(lines[:shown], console)
        if (more := len(lines) - shown) > 0:
            console.print(f"… and {more} more: --shown {len(lines)} names all.", highlight=False)
    return not broken and not without


def _say(lines: list[str], console: Console) -> None:
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def useless(found: dict[str, Inventory], facts: Facts) -> list[str]:
    """Splits without a single pixel to learn from or to measure against, a sentence each."""
    cap = "" if facts.max_depth is None else f" up to {facts.max_depth:g} m"
    reasons = {
        "segmentation": "no pixel has a class. Look at classes and ignore.",
        "depth": f"no image has a depth{cap}. Look at the units of the data (depth_scale), and at "
        "max_depth.",
        "normals": "no pixel has a normal. Look at how they are written as colours.",
    }
    return [f"{name}: {reasons[key]}" for name, look in found.items() for key in look.unknown()]


def absent(found: dict[str, Inventory], facts: Facts) -> list[str]:
    """Classes that occur nowhere in training, a sentence for each key."""
    said, train = [], found.get("train", Inventory())
    for key, count in facts.classes.items():
        numbers = _absent(train, key, count)
        if numbers in (_NONE, "none") or not train.classes(key):
            continue
        masks = key == "segmentation" and train.classes(key) == [0] and train.ignored()
        # What programs for drawing write in place of 0 and 1.
        hint = " Of masks of 0 and 255 the 255 is to be written as 1." if masks else ""
        some, _, which = numbers.partition(": ")
        said.append(f"train: {some} of {count} classes of {key} are never shown: {which}.{hint}")
    return said


def table(found: dict[str, Inventory], facts: Facts) -> Table:
    """The inventories of all splits side by side."""
    rows = [
        ["samples", *(f"{i.samples:,}" for i in found.values())],
        ["broken", *(f"{len(i.broken):,}" for i in found.values())],
        ["height and width", *(_sizes(i) for i in found.values())],
    ]
    for key in LABEL_KEYS:
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
        cap = "" if facts.max_depth is None else f", to {facts.max_depth:g} m"
        known = [_share(i.known, i.pixels) for i in found.values()]
        rows.append([f"depth: pixels that are known{cap}", *known])
    if any(i.normals for i in found.values()):
        known = [_share(i.directed, i.normals) for i in found.values()]
        facing = [_share(i.facing, i.directed) for i in found.values()]
        rows.append(["normals: pixels that are known", *known])
        rows.append(["normals: of these facing the camera", *facing])
    return Table(("", *found), rows, "What the data set holds")


def _share(some: int, of: int) -> str:
    return f"{some / of:.1%}" if of else _NONE


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
    if not inventory.farthest:
        return _NONE
    return f"{inventory.nearest:.2f} m to {inventory.farthest:.2f} m"
