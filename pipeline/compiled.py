"""The compiled core (core.c), or None where there was no compiler when the package was installed: all works without."""

try:
    from pipeline import _core
except ImportError:
    _core = None  # type: ignore[assignment]

core = _core
