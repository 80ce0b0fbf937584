"""One look for all figures, on light and on dark pages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

BEST, OTHERS = "#2563eb", "rgba(128,134,148,0.45)"
FAINT, BAND = "rgba(128,134,148,0.22)", "rgba(128,134,148,0.16)"
# Okabe and Ito's colours, which people with any colour vision can tell apart; yellow is left out, which paper hides.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9")
SCALE = "Viridis"
_SCALES = {"light": ("#dbe6f6", "#5b8fd9", "#123a86"), "dark": ("#27364f", "#4d83d1", "#d6e6ff")}
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"
_INK = {"light": ("#1f2937", "#e5e7eb", "#ffffff"), "dark": ("#e5e7eb", "#374151", "#111827")}


def template(theme: str) -> dict[str, Any]:
    """Plotly's layout for a theme, `light` or `dark`: colours of text, grid and hover labels."""
    ink, grid, paper = _INK[theme]
    title = {"font": {"size": 12}, "standoff": 8}
    axis = {"gridcolor": grid, "zerolinecolor": grid, "linecolor": grid, "automargin": True, "title": title}
    scale = [[place / 2, colour] for place, colour in enumerate(_SCALES[theme])]
    layout = {
        "font": {"family": FONT, "color": ink, "size": 12},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "colorway": list(PALETTE),
        "colorscale": {"sequential": scale, "sequentialminus": scale, "diverging": scale},
        "xaxis": axis,
        "yaxis": axis,
        "hoverlabel": {"bgcolor": paper, "bordercolor": grid, "font": {"color": ink, "family": FONT}},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": grid, "activecolor": BEST},
        "margin": {"l": 48, "r": 12, "t": 12, "b": 40},
    }
    return {"layout": layout}


def styled(figure: Figure, *, x: str | None = None, y: str | None = None, height: int = 360) -> Figure:
    """The figure with names for its axes and without a title, which the page has; `themed` gives it its look."""
    figure.layout.height, figure.layout.title = height, None
    for trace in figure.data:
        parts: list[Any] = [trace, getattr(trace, "marker", None), getattr(trace, "line", None)]
        for part in parts:
            if getattr(part, "colorscale", None) is not None:  # of Optuna's; the theme has another
                part.colorscale, part.autocolorscale = None, True
    if x is not None:
        figure.update_xaxes(title_text=x)
    if y is not None:
        figure.update_yaxes(title_text=y)
    return figure


def themed(figure: Figure, theme: str = "light") -> Figure:
    """The figure in the look of a theme, for where no page gives it."""
    figure.layout.template = template(theme)
    for trace in figure.select_traces({"type": "parcoords"}):
        trace.line.colorscale = template(theme)["layout"]["colorscale"]["sequential"]  # its lines know no theme
    return figure


def colours(values: Sequence[object]) -> list[str]:
    """A colour for each value: by size for more than six different numbers, else one for each different value."""
    different = sorted({*values}, key=lambda value: (str(type(value)), value if _is_number(value) else str(value)))
    if len(different) > len(PALETTE) and all(_is_number(value) for value in different):
        from plotly.colors import sample_colorscale

        places = [place / (len(different) - 1) for place in range(len(different))]
        found = dict(zip(different, sample_colorscale(SCALE, places), strict=True))
    else:
        found = {value: PALETTE[place % len(PALETTE)] for place, value in enumerate(different)}
    return [found[value] for value in values]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
