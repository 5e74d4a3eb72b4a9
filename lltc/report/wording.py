"""Numbers and transitions in words, the same in the terminal, the plots and the page."""

import math
from typing import Any

MISSING = "—"


def number(value: float | None, digits: int = 4) -> str:
    """A number to `digits` significant digits; a NaN or none at all is a dash.

    Example:
        >>> number(0.123456), number(float("nan")), number(1000.0)
        ('0.1235', '—', '1000')
    """
    value = math.nan if value is None else float(value)
    if math.isnan(value):
        return MISSING
    if value.is_integer() and abs(value) < 10**7:
        return str(int(value))
    return f"{value:.{digits}g}"


def tenths(value: float) -> str:
    """A number to one decimal; a NaN is a dash.

    Example:
        >>> tenths(9.04), tenths(float("nan"))
        ('9.0', '—')
    """
    return MISSING if math.isnan(value) else f"{value:.1f}"


def measured(value: float, se: float, *, sign: bool = False) -> str:
    """A value and its standard error, to the error's digits: two where it starts with 1 or 2, else one.

    Example:
        >>> measured(1.6213, 0.0491), measured(1.6213, 0.0191), measured(187.53, 12.1)
        ('1.62 ± 0.05', '1.621 ± 0.019', '188 ± 12')
    """
    if math.isnan(value):
        return MISSING
    plus = "+" if sign else ""
    if not (math.isfinite(se) and se > 0):
        return f"{'+' if sign and value > 0 else ''}{number(value)} ± {number(se)}"
    power = math.floor(math.log10(se))
    decimals = -power + (1 if se / 10.0**power < 3 else 0)
    if decimals > 6:
        return f"{value:{plus}.4g} ± {se:.1g}"
    value, se = round(value, decimals), round(se, decimals)
    return f"{value:{plus}.{max(decimals, 0)}f} ± {se:.{max(decimals, 0)}f}"


def after_comma(caveat: str) -> str:
    """A caveat as it follows other words, or nothing.

    Example:
        >>> after_comma("few_draws"), after_comma("")
        (', few_draws', '')
    """
    return f", {caveat}" if caveat else ""


def sentence(transition: Any) -> str:
    """A transition in words, its size without a sign."""
    size = measured(abs(transition.delta_llc), transition.delta_llc_se)
    between = f"steps {number(transition.step_low, 7)} and {number(transition.step_high, 7)}"
    return f"{transition.kind} of {size} between {between} (probability {transition.probability:.2f})"


def minus(text: str) -> str:
    """The text with hyphens for minus signs set as minus signs."""
    return text.replace("-", "−")
