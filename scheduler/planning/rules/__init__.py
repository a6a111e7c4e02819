"""What may start now, and why not: a pure function for each rule. Every rule judges every time."""

from datetime import datetime

from headway.models.values.rule import OVERRIDABLE, Hold, RuleId
from headway.models.values.run import Run
from headway.scheduler.planning.board import Board
from headway.scheduler.planning.rules.busy import busy
from headway.scheduler.planning.rules.capacity import capacity
from headway.scheduler.planning.rules.engine import engine
from headway.scheduler.planning.rules.group import group
from headway.scheduler.planning.rules.reset import reset
from headway.scheduler.planning.rules.spacing import spacing
from headway.scheduler.planning.rules.window import window

RULES = {
    RuleId.RESET: reset,
    RuleId.BUSY: busy,
    RuleId.GROUP: group,
    RuleId.CAPACITY: capacity,
    RuleId.WINDOW: window,
    RuleId.SPACING: spacing,
    RuleId.ENGINE: engine,
}
"""In the order in which an operator reads their holds."""


def judge(run: Run, board: Board, now: datetime) -> list[Hold]:
    """Every rule's hold on the run; empty if it may start. The run's overrides lift only OVERRIDABLE rules."""
    holds = []
    for rule in RULES.values():
        hold = rule(run, board, now)
        if hold is not None:
            holds.append(hold)
    if holds and run.overrides:
        lifted = run.overrides & OVERRIDABLE
        holds = [hold for hold in holds if hold.rule not in lifted]
    return holds
