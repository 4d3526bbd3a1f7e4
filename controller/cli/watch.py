"""Looking at a run, once or until it ends: who is at work, what is stored, which configuration is ahead.

Limits
- A run in S3 whose cluster is not named shows who is at work by their progress alone, so each look lists all trials.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from controller.backend import Observed
from controller.cli.presence import Presence, presence_in, presence_on
from controller.cli.target import Target, situation_of
from controller.interrupts import Interrupts
from controller.leader import Leader, Leaders, leader_text
from controller.ledger_reader import LedgerReader
from controller.states import Situation, states
from controller.terminal import Display, display_on_stderr
from job.contract.errors import TransientError

if TYPE_CHECKING:
    from controller.kube.onlook import Onlook

__all__ = ["Look", "Lookout", "Watched", "pause_after", "watch"]

_PAUSE_S = 2.0
_LONGEST_PAUSE_S = 60.0
_SHARE = 10  # a look may take a tenth of the time; a large run in a slow store is then looked at less often
_FULL_EVERY_S = 60.0


class Look(NamedTuple):
    """A run at one moment."""

    presence: Presence
    situation: Situation
    leader: Leader | None
    """Which configuration is ahead; None where nobody asked."""


class Watched(NamedTuple):
    """The last look, and whether somebody ended the watch before the run."""

    look: Look
    left: bool = False


class Lookout:
    """One who looks at a run again and again and asks only for what may have changed."""

    def __init__(self, target: Target, onlook: Onlook | None, *, watching: bool) -> None:
        self.target = target
        self._onlook = onlook
        self._leaders = Leaders(target.store, target.plan, target.spec) if watching else None
        self._reader = LedgerReader(target.store, target.plan, full_every_s=_FULL_EVERY_S)
        self._live: frozenset[str] = frozenset()

    def look(self) -> Look:
        """Who is at work before what is stored: what a process published before it ended is then seen with its end."""
        naming = self.target.naming
        presence = presence_on(naming.run_uri) if self._onlook is None else presence_in(self._onlook)
        situation = situation_of(
            self.target, self._reader, observed=presence.observed, live=self._to_read(presence.observed)
        )
        return Look(presence, situation, None if self._leaders is None else self._leaders.now(situation.ledger))

    def _to_read(self, observed: tuple[Observed, ...] | None) -> frozenset[str] | None:
        """The trials that were at work at the last look or are at this one; None where all may be."""
        if observed is None:
            return None
        now = frozenset(trial_id for seen in observed for trial_id in seen.trial_ids)
        changing, self._live = now | self._live, now
        return changing


def watch(
    lookout: Lookout, *, display: Display | None = None, monotonic: Callable[[], float] = time.monotonic
) -> Watched:
    """Show the run until all its trials are in their final state, or until Ctrl-C or SIGTERM ends the watch."""
    interrupts = Interrupts()
    interrupts.install()
    display = display or display_on_stderr(lookout.target.naming.run_uri)
    look: Look | None = None
    warned = ""
    try:
        while True:
            began = monotonic()
            try:
                look = lookout.look()
            except TransientError as err:
                if look is None:
                    raise
                display.trouble(err, since=look.situation.now)
            else:
                if _show(display, look):
                    return Watched(look)
                warned = _warn(display, look, before=warned, begin=lookout.target.begin)
            interrupts.sleep(pause_after(monotonic() - began))
    except KeyboardInterrupt:
        if look is None:
            raise
        return Watched(look, left=True)
    finally:
        display.close()


def pause_after(looked_s: float) -> float:
    """Seconds until the next look, after one that took so long."""
    return min(max(_PAUSE_S, (_SHARE - 1) * looked_s), _LONGEST_PAUSE_S)


def _show(display: Display, look: Look) -> bool:
    """Whether there is nothing more to wait for."""
    statuses = states(look.situation)
    display.best(leader_text(look.leader))
    display.update(look.situation, statuses)
    return all(status.final for status in statuses.values())


def _warn(display: Display, look: Look, *, before: str, begin: str) -> str:
    """Say the warning if it is news; gives it back."""
    warning = look.presence.warning(states(look.situation), begin=begin)
    if warning and warning != before:
        display.say(warning)
    return warning
