"""The section ``report``: title, question, intended use and comparisons of a study, in its own words."""

from typing import Any

from pydantic import Field

from trustseg.config.section import Section

__all__ = ["ReportConfig"]


class ReportConfig(Section):
    """The wording of the report and what it compares."""

    title: str | None = Field(None, description="title of the report; null: the study's name (study only)")
    question: str | None = Field(None, description="what the study asks, in a sentence (study only)")
    intended_use: str | None = Field(
        None, description="for what and by whom the model is meant to be used, for the first screen of the report"
    )
    population: str | None = Field(
        None, description="whose images were tested: source, years, devices; for the first screen of the report"
    )
    margin: float = Field(
        0.01, ge=0, lt=1, description="smallest difference that matters: only one beyond it is called better or worse"
    )
    baselines: tuple[dict[str, Any], ...] = Field(
        ({"adversarial.selection": "random"}, {"adversarial.selection": "none"}),
        description="settings of the variants that the others are compared with; comparisons with the first that a "
        "study has are its headline (study only)",
    )
