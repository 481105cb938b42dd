"""What a study asks, in its own words: title, question and comparisons of its report."""

from typing import Any

from pydantic import Field

from trustseg.config.section import Section

__all__ = ["ReportConfig"]


class ReportConfig(Section):
    """The wording of the report and what it compares."""

    title: str | None = Field(None, description="title of the report; null: the study's name (study only)")
    question: str | None = Field(None, description="what the study asks, in a sentence (study only)")
    baselines: tuple[dict[str, Any], ...] = Field(
        ({"adversarial.selection": "random"}, {"adversarial.selection": "none"}),
        description="settings of the variants that the others are compared with; comparisons with the first that a "
        "study has are its headline (study only)",
    )
