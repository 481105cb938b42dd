"""A chart with everything that is odd: one point, no points, NaN, a dollar sign, an interval of width 0."""

from trustseg.reporting.series import Chart, Line, Look, Panel


def odd_chart(*, horizontal: bool) -> Chart:
    """Return three panels in two columns, so that one place of the grid stays empty."""
    look = Look("#0072B2", "dash", "square")
    lines = (
        Line("cost in $ and $", [1.0], [0.5], look, [0.5], [0.5], mode="markers", texts=["one"]),
        Line("empty", [], [], look),
        Line("gap", [0.0, 1.0], [float("nan"), 0.5], look),
    )
    panel = Panel("a $ title", "x", "y", lines, y_ticks={0.5: "half"}, diagonal=True, zero=True)
    return Chart("odd", "Odd", "How to read it.", (panel, panel, panel), 2, horizontal=horizontal)
