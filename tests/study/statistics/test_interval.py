"""How an interval reads."""

from trustseg.study.statistics import Interval


def test_text_of_an_interval() -> None:
    interval = Interval(0.61234, 0.5441, 0.6709, count=80, patients=40)
    assert interval.text() == f"{interval}" == "0.612 [0.544, 0.671]"
    assert interval.text(1) == "0.6 [0.5, 0.7]"
    assert f"{interval:.1%}" == "61.2% [54.4%, 67.1%]"
    assert not interval.few_patients
