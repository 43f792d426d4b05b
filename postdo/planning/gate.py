"""The verdict of a plan, enforced: pass, or refuse and say what would let it pass."""

from __future__ import annotations

from postdo.config import Config
from postdo.errors import Refused
from postdo.planning.plan import Plan, evidence
from postdo.planning.verdict import Reason
from postdo.run import Run
from postdo.words import APPROVE


def pass_gate(run: Run, plan: Plan, approval: str) -> None:
    """Return if the plan may be carried out. Raises ``Refused`` with every reason if not.

    ``approval``: the checksum that a person approves; it counts for this very plan only.
    """
    if plan.verdict == "ask" and approval == plan.checksum:
        run.console.tell(f"approved: {_verdict(plan)}")
        return
    if plan.verdict not in ("ask", "refuse"):
        run.console.tell(plan.line)
        return
    if plan.verdict == "ask" and not approval and _a_person_agrees(run, plan):
        return
    raise refusal(run, plan, approval)


def refusal(run: Run, plan: Plan, approval: str, result: object = None) -> Refused:
    """The error for a plan that may not be carried out, with every reason."""
    what, next_step = _what(plan, approval), _next_step(run.config, plan)
    details = _details(run.config, plan, (what, next_step))
    return Refused(what, next_step, details=details, result=result)


def _a_person_agrees(run: Run, plan: Plan) -> bool:
    """Ask, where somebody sits at a terminal; everywhere else ``ask`` is ``refuse``."""
    if not run.console.interactive:
        return False
    run.console.say(plan.line)
    for line in _details(run.config, plan):
        run.console.say(f"  {line}")
    return run.console.ask(f"Carry out plan {plan.checksum}?")


def _what(plan: Plan, approval: str) -> str:
    if approval and approval != plan.checksum and plan.verdict == "ask":
        return f"the approval {approval} is for another plan; this one is {plan.checksum}"
    return _verdict(plan)


def _verdict(plan: Plan) -> str:
    """Its line, without the word that is said already, and without how to approve it."""
    said = plan.line.partition(": ")[2] or plan.line
    return said.removesuffix(f"; approve with {APPROVE} {plan.checksum}")


def _next_step(config: Config, plan: Plan) -> str:
    if plan.verdict == "ask":
        # A single reason that can be avoided says how, and then what is asked for.
        if len(plan.reasons) == 1 and plan.reasons[0].kind == "incompatible":
            return f"{plan.reasons[0].next_step}: {config.approve(plan.checksum)}"
        return f"if that is what you want: {config.approve(plan.checksum)}"
    first: Reason | None = next((one for one in plan.reasons if not one.approvable), None)
    return first.next_step if first else "read the plan"


def _details(config: Config, plan: Plan, said: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Every reason with its remedy; of a single one, only what is not ``said`` already."""
    whole = config.postdo("plan")
    lines: list[str] = []
    if len(plan.reasons) == 1:
        (reason,) = plan.reasons
        lines += [] if reason.what in said else [reason.what]
        lines += evidence(reason, whole)
        lines += (
            [] if any(reason.next_step in one for one in said) else [f"next: {reason.next_step}"]
        )
        return tuple(lines)
    for reason in plan.reasons:
        lines.append(f"{reason.what} ({reason.policy})" if reason.policy else reason.what)
        lines.extend(f"  {detail}" for detail in evidence(reason, whole))
        if reason.next_step:
            lines.append(f"  next: {reason.next_step}")
    return tuple(lines)
