"""What a method set, as plain values that a test can write down."""

from anyteacher import Link


def facts(link: Link) -> dict[str, object]:
    """The settings of a link that differ from a link's defaults, without taps, name and direction.

    Objects are given as their class with their plain settings.
    """
    plain = Link(link.student, link.teacher)
    names = ("loss", "projector", "student_norm", "teacher_norm", "compare", "weight")
    values = {name: _written(getattr(link, name)) for name in (*names, "level_weights")}
    return {
        name: value for name, value in values.items() if value != _written(getattr(plain, name))
    }


def _written(value: object) -> object:
    settings = getattr(value, "__dict__", None)
    if settings is None:
        return value
    plain = {
        key: setting
        for key, setting in settings.items()
        if not key.startswith("_") and key != "training" and isinstance(setting, float | int | str)
    }
    return (type(value).__name__, plain)
