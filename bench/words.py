"""Numbers as people read them."""


def duration(seconds: float) -> str:
    """Three digits, in the unit that leaves at most three of them before the point."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def ratio(number: float) -> str:
    """Three digits, or whole where there are more."""
    return f"{number:.0f}x" if number >= 100 else f"{number:.3g}x"
