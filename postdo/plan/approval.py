"""Enforce the verdict of a plan: let it pass, ask a person, or refuse with every reason and remedy.

An approval is the checksum of one plan. It counts for that plan only: if anything that the plan
decides is different by now, the checksum is different too.
"""

from __future__ import annotations

from postdo.base.config import Config
from postdo.base.context import Run
from postdo.base.errors import Refused
from postdo.plan.decide import Plan, evidence


def require_approval(run: Run, plan: Plan, approval: str) -> None:
    """Return if the plan may be carried out; otherwise raise ``Refused`` with every reason.

    ``approval``: the checksum that a person approved. It counts for exactly this plan.
    """
    if plan.verdict == "ask" and approval == plan.checksum:
        run.console.tell(f"approved: {plan.headline}")
        return
    if plan.verdict not in ("ask", "refuse"):
        run.console.tell(plan.line)
        return
    raise refusal(run, plan, approval)


def refusal(run: Run, plan: Plan, approval: str, result: object = None) -> Refused:
    """The error for a plan that may not be carried out, with every reason and its remedy."""
    of_another = bool(approval) and approval != plan.checksum and plan.verdict == "ask"
    what = plan.headline
    if of_another:
        what = f"the approval {approval} is for another plan; this plan is {plan.checksum}"
    remedy, next_step = _next_step(run.config, plan)
    details = _details(run.config, plan, reason=of_another, remedy=not remedy)
    return Refused(what, next_step, details=details, result=result)


def _next_step(config: Config, plan: Plan) -> tuple[bool, str]:
    """What to do next, and whether that has the first reason's own remedy in it."""
    if plan.verdict == "ask":
        # A single reason that can be avoided says how, and then what is asked for.
        if len(plan.reasons) == 1 and plan.reasons[0].kind == "incompatible":
            return True, f"{plan.reasons[0].next_step}: {config.approve(plan.checksum)}"
        return False, f"to approve this plan: {config.approve(plan.checksum)}"
    return True, next(one.next_step for one in plan.reasons if not one.approvable)


def _details(
    config: Config, plan: Plan, *, reason: bool = True, remedy: bool = True
) -> tuple[str, ...]:
    """Every reason with its remedy.

    Of a single one ``reason`` and ``remedy`` are left out where they are said already.
    """
    whole = config.postdo("plan")
    if len(plan.reasons) == 1:
        (only,) = plan.reasons
        said = [only.what] if reason else []
        do = [f"next: {only.next_step}"] if remedy else []
        return (*said, *evidence(only, whole), *do)
    lines: list[str] = []
    for one in plan.reasons:
        lines.append(f"{one.what} ({one.policy})" if one.policy else one.what)
        lines.extend(f"  {detail}" for detail in evidence(one, whole))
        if one.next_step:
            lines.append(f"  next: {one.next_step}")
    return tuple(lines)
