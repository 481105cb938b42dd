"""What fits into a budget."""

import pytest

from trustseg.audit import Requirement
from trustseg.audit.plan import AUDIT_ATTACKS, AUDIT_SHIFTS, PassTimes, Plan, make_plan, seconds_of
from trustseg.errors import ConfigError


def planned(budget: float | None, *, gradients: bool = True, requirements: tuple[Requirement, ...] = ()) -> Plan:
    return make_plan(
        PassTimes(0.01, 0.02),
        images=100,
        gradients=gradients,
        masks=True,
        policy=True,
        requirements=requirements,
        budget=budget,
    )


def test_without_a_limit_everything_is_measured_on_all_images() -> None:
    plan = planned(None)
    assert (plan.images, plan.left_out, plan.severities, plan.shifts) == (100, (), (1, 2, 3, 4, 5), AUDIT_SHIFTS)
    assert [name for name, _ in plan.attacks] == list(AUDIT_ATTACKS)
    assert plan.minimal
    assert plan.masking_checks


@pytest.mark.parametrize("budget", [20.0, 60.0, 200.0, 1000.0])
def test_a_budget_is_kept_and_what_is_left_out_is_named(budget: float) -> None:
    plan = planned(budget)
    assert plan.seconds <= budget
    assert plan.left_out
    assert 16 <= plan.images <= 100
    shifts = len(plan.shifts) * len(plan.severities) * plan.images * 0.01
    assert 0 < shifts <= plan.seconds


def test_what_requirements_ask_for_comes_first_whatever_it_takes() -> None:
    asked = (
        Requirement(metric="dice", at_least=0.5, condition="any_shift@4"),
        Requirement(metric="dice", at_least=0.5, condition="scatter@4"),
        Requirement(metric="dice", at_least=0.5, condition="fgsm@3/255"),
        Requirement(metric="dice", at_least=0.5, condition="any_attack@2/255"),
    )
    plan = planned(0.1, requirements=asked)
    assert (plan.images, plan.severities, plan.shifts) == (16, (4,), (*AUDIT_SHIFTS, "scatter"))
    assert dict(plan.attacks) == {"fgsm": (3 / 255,), "pgd": (2 / 255,)}
    assert f"about {plan.seconds:.0f} s" in plan.warning
    assert not planned(60.0, requirements=asked).warning


def test_without_gradients_only_the_square_attack_is_run() -> None:
    plan = planned(None, gradients=False)
    assert [name for name, _ in plan.attacks] == ["square"]
    assert plan.minimal == plan.masking_checks == 0


@pytest.mark.parametrize("budget", ["", "10 minutes", "-3s", "0s", "nan", "1e3"])
def test_a_budget_that_is_no_time_is_refused(budget: str) -> None:
    with pytest.raises(ConfigError, match="budget"):
        seconds_of(budget)
