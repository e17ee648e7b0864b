"""Deadlocks: runs that nothing can ever wake are suspected, probed, and ended.

Rules
-----
- A run whose living fibers all seem to wait is suspected. Each member that hosts some of it, or
  the outcome of some, is asked. If one of them denies it, or anything moves meanwhile, the answers
  are moot.
- If all confirm it, no fiber of another run is waited for, and all locks that are waited for are in
  the hands of fibers of the run, it is a deadlock.
- If other runs have some of these locks or fibers, the run is *stuck*: its answers are kept until
  something moves in it. Stuck runs that have among them all the locks and fibers for which they
  wait are a *knot*, perhaps: their answers are of different moments. So all of them are asked
  again, at once. If each member answers as before, and none of its fibers has woken in between,
  then all of them were waiting at the moment at which the second probe was sent, and nothing
  can ever wake one of them.
- One run of a knot ends: among those whose fibers wait for each other in a cycle, the one that was
  started last. Its locks are released, so the others go on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from typing import Final

from distio.coordination.admission import Inadmissible
from distio.coordination.dispatch import admits, handles
from distio.coordination.feature.coordinator import CoordinatorFeature, Key
from distio.coordination.state.coordinator import CoordinatorState
from distio.coordination.state.members import MemberRecord
from distio.coordination.state.registry import NOWHERE, Run
from distio.protocol import messages as m
from distio.protocol.ids import name_of
from distio.protocol.messages import WaitGraph

__all__ = ["DeadlockDetector", "edges_of", "explain"]

_MOST_LINES: Final = 10

Answers = dict[int, WaitGraph]
"""By member: which fibers of one run wait there, and for what."""


class _Knot:
    """Runs that seem to be stuck for each other, and are asked again."""

    def __init__(self, answers: dict[int, Answers]) -> None:
        self.answers = answers
        """By run: what its members answered the first time."""
        self.confirmed: set[int] = set()
        """The runs whose members have all answered the same again."""


class DeadlockDetector(CoordinatorFeature):
    """The runs that are suspected of a deadlock, and the probes about them."""

    def __init__(
        self,
        state: CoordinatorState,
        makers_awaited_by: Callable[[int], Iterable[int]],
        all_held: Callable[[Mapping[Key, Sequence[int]]], bool],
        has_tokens: Callable[[int, Key, Sequence[int]], bool],
        end: Callable[[int, Run, str], None],
    ) -> None:
        """
        Args:
            state: what is known of runs and members.
            makers_awaited_by: gives the members for whose fibers the unverified waits of a run are.
            all_held: whether no token of these locks is anywhere but in the hands of these fibers.
            has_tokens: whether a member has as many tokens of a lock as these fibers there hold.
            end: called with a run that nothing can wake, and why.
        """
        self._state = state
        self._makers_awaited_by = makers_awaited_by
        self._all_held = all_held
        self._has_tokens = has_tokens
        self._end_run = end
        self._suspects: set[int] = set()
        """Runs of which members are asked, or were, which fibers wait for which."""
        self._stuck: set[int] = set()
        """Runs that wait for what others have, unless something has moved in them since."""
        self._knots: dict[int, _Knot] = {}
        """By run: each stands here for all of its runs."""

    def __len__(self) -> int:
        return len(self._suspects) + len(self._stuck) + len(self._knots)

    # -- hooks ----------------------------------------------------------------------------

    def leftovers(self) -> Mapping[str, Sized]:
        return {"suspicions of deadlocks": self}

    def run_ended(self, id: int, run: Run) -> None:
        """The run is nobody's concern any more."""
        self._suspects.discard(id)
        self._stuck.discard(id)
        self._cut(id)

    def member_reported(self, member: MemberRecord) -> None:
        """The member has handled more messages: runs that wait there may be stuck."""
        runs, here = self._state.runs, member.id
        counts: Mapping[int, int] = member.blocked
        for waiting_at in self._state.hooks.waiting_at:
            if more := waiting_at(here):
                counts = {**counts, **more}
        for id, count in [*counts.items()]:
            run = runs.get(id)
            # most often some of its fibers run here
            if run is not None and (count or here not in run.alive_at):
                self.run_may_be_stuck(id, run)

    def run_may_be_stuck(self, id: int, run: Run) -> None:
        """Ask around if all fibers of this run seem to wait."""
        if run.asked or run.waits_on_other_runs or run.is_miscounted or NOWHERE in run.alive_at:
            return  # most often
        if self._seems_blocked(id, run) and self._is_still(id, run):
            self._probe(id, run)

    def _is_still(self, id: int, run: Run) -> bool:
        """Whether nothing comes to this run by itself."""
        if NOWHERE in run.alive_at:
            return False
        return not any(will_wake(id) for will_wake in self._state.hooks.will_wake)

    def _seems_blocked(self, id: int, run: Run) -> bool:
        """Whether all fibers of this run wait, as far as its members have reported."""
        members, hooks = self._state.members, self._state.hooks.waiting_at
        for host, alive in run.alive_at.items():
            member = members.get(host)
            if member is None or not member.is_up_to_date:
                return False
            waiting = member.blocked.get(id, 0)
            for waiting_at in hooks:
                waiting += waiting_at(host).get(id, 0)
            if waiting != alive:
                return False
        return True

    # -- probes ---------------------------------------------------------------------------

    def _probe(self, id: int, run: Run) -> None:
        # those that are awaited and alive are counted where they are
        hosts = {*run.alive_at, *[self._state.fibers[fiber].host for fiber in run.due]}
        hosts.update(self._makers_awaited_by(id))
        run.waits.clear()
        run.probe += 1
        self._suspects.add(id)
        run.asked = hosts & self._state.members.keys()
        for member in sorted(run.asked):
            self._state.send(member, m.RequestWaitGraph(id, run.probe))

    def tokens_moved(self, lock: Key) -> None:
        """An answer that a fiber waits for this lock is moot."""
        if not self._suspects:
            return
        for id in list(self._suspects):
            run = self._state.runs.get(id)
            if run is None or not run.asked:
                self._suspects.discard(id)
            elif lock in _wanted(run.waits):
                run.note_progress()

    @admits
    def admit_answer(self, sender: MemberRecord, message: m.WaitGraph) -> None:
        """Refuse the answer unless the locks that fibers there hold were lent to the member."""
        for key, fibers in message.held:
            if not self._has_tokens(sender.id, key, fibers):
                raise Inadmissible(f"fibers hold {key!r:.100}, which wasn't lent")

    @handles
    def answered(self, sender: MemberRecord, message: m.WaitGraph) -> None:
        """A member has described which fibers wait there, and for what."""
        run = self._state.runs.get(message.run)
        if run is None or sender.id not in run.asked or run.probe != message.probe:
            self._state.stale += 1
        elif not message.is_quiet:
            run.note_progress()
        else:
            run.waits[sender.id] = message
            run.asked.discard(sender.id)
            if not run.asked:
                self._judge(message.run, run)

    def _judge(self, id: int, run: Run) -> None:
        """All fibers of a run wait, and all members were quiet: do they wait for each other?"""
        answers = [*run.waits.values()]
        if self._is_deadlock(id, answers=answers):
            self._end(id, answers)
            return
        run.waits_on_other_runs = True  # as far as it alone is concerned
        self._stuck.add(id)
        knot = self._knots.get(id)
        if knot is None:
            self._look_for_knot(id)
        elif _woken(knot.answers[id]) != _woken(run.waits):
            self._cut(id)
            self._look_for_knot(id)
        else:
            knot.confirmed.add(id)
            self._judge_knot(knot)

    def _is_deadlock(self, *runs: int, answers: Sequence[WaitGraph]) -> bool:
        """Whether these runs have all that their fibers wait for."""
        held = edges_of(answers)[1]
        return _awaited(answers) <= {*runs} and self._all_held(held)

    def _end(self, id: int, answers: Sequence[WaitGraph], why: str = "") -> None:
        edges, _ = edges_of(answers)
        calls = [call for answer in answers for call in answer.for_primitives]
        run = self._state.runs[id]
        waits = explain(edges, calls) + why
        lost = "; ".join(f"{worker}: {reason}" for worker, reason in run.losses.items())
        if lost:  # a lost fiber would have woken it, most likely
            waits += f"; fibers of it were lost with {lost}"
        self._end_run(id, run, waits)

    # -- knots ----------------------------------------------------------------------------

    def _look_for_knot(self, start: int) -> None:
        """Whether stuck runs have all that this one, and they themselves, wait for."""
        stuck = {id: run.waits for id in sorted(self._stuck) if (run := self._stuck_run(id))}
        found = {start: dict(stuck[start])}
        wanted, awaited = _wanted(found[start]), _awaited(found[start].values())
        while found.keys() != stuck.keys():
            others = [
                id
                for id, waits in stuck.items()
                if id not in found and (id in awaited or wanted & _held(waits))
            ]
            if not others:
                break
            for id in others:
                found[id] = dict(stuck[id])
                wanted |= _wanted(found[id])
                awaited |= _awaited(found[id].values())
        if len(found) > 1 and self._is_deadlock(*found, answers=_all(found)):
            self._tie(_Knot(found))

    def _stuck_run(self, id: int) -> Run | None:
        """Return this run, if nothing has moved in it since it was stuck; else it isn't stuck any
        more."""
        run = self._state.runs.get(id)
        if run is None or not run.waits_on_other_runs:
            self._stuck.discard(id)
            return None
        return run if run.waits and not run.asked else None

    def _tie(self, knot: _Knot) -> None:
        """Ask all runs of a knot again.

        Messages that were sent to their members before reach these before the probe does. So it
        doesn't matter whether the members have reported that they have handled them.
        """
        runs = {id: self._state.runs[id] for id in sorted(knot.answers)}
        if all(self._is_still(id, run) for id, run in runs.items()):
            for id, run in runs.items():
                self._cut(id)
                self._knots[id] = knot
                self._probe(id, run)

    def _cut(self, id: int) -> None:
        """This run belongs to no knot, nor do those that seemed to be stuck together with it."""
        knot = self._knots.get(id)
        if knot is not None:
            for other in knot.answers:
                self._knots.pop(other, None)

    def _judge_knot(self, knot: _Knot) -> None:
        if knot.confirmed != knot.answers.keys():
            return
        runs = {id: self._stuck_run(id) for id in knot.answers}
        self._cut(next(iter(runs)))
        answers = {id: run.waits for id, run in runs.items() if run and self._is_still(id, run)}
        if len(answers) == len(runs) and self._is_deadlock(*answers, answers=_all(answers)):
            victim = self._victim(answers)
            others = ", ".join(f"run {name_of(id)}" for id in sorted(answers.keys() - {victim}))
            locks = ["locks"] if any(map(_wanted, answers.values())) else []
            what = " and ".join(locks + ["fibers"] * bool(_awaited(_all(answers))))
            why = f"; the {what} are of {others}, too, and this run was started last"
            self._end(victim, _all(answers), why)

    def _victim(self, answers: dict[int, Answers]) -> int:
        """The run that was started last among those whose fibers wait in a cycle."""
        edges, _ = edges_of(_all(answers))
        cycle = set(_find_cycle(dict(edges)))
        in_cycle = {
            id
            for id, of_run in answers.items()
            if any(fiber in cycle for fiber, _ in edges_of([*of_run.values()])[0])
        }
        started = [id for id in self._state.runs if id in (in_cycle or answers)]
        return started[-1]


def _wanted(answers: Answers) -> set[Key]:
    return {key for answer in answers.values() for _, key in answer.for_locks}


def _awaited(answers: Iterable[WaitGraph]) -> set[int]:
    """The other runs for whose fibers these wait."""
    return {run for answer in answers for _, run in answer.for_runs}


def _held(answers: Answers) -> set[Key]:
    return {key for answer in answers.values() for key, _ in answer.held}


def _woken(answers: Answers) -> dict[int, int]:
    return {member: answer.woken for member, answer in answers.items()}


def _all(answers: dict[int, Answers]) -> list[WaitGraph]:
    return [answer for of_run in answers.values() for answer in of_run.values()]


def edges_of(
    answers: Sequence[WaitGraph],
) -> tuple[list[tuple[int, list[int]]], dict[int | str, list[int]]]:
    """Merge the wait graphs of members.

    Returns:
        Which fiber waits for which, and who holds each lock that is waited for, as far as they
        are fibers of this run.
    """
    edges = [edge for answer in answers for edge in answer.edges]
    holders: dict[int | str, list[int]] = {
        key: [] for answer in answers for _, key in answer.for_locks
    }
    for answer in answers:
        for key, fibers in answer.held:
            if key in holders:
                holders[key] += fibers
    edges += [(fiber, holders[key]) for answer in answers for fiber, key in answer.for_locks]
    return edges, holders


def explain(edges: Sequence[tuple[int, list[int]]], calls: Sequence[tuple[int, str]] = ()) -> str:
    """Name the cycle among these waits; without one, the first few waits.

    Args:
        edges: which fiber waits for which.
        calls: (fiber, what it waits for, in words) of the fibers that wait at primitives.

    >>> explain([(1, [2]), (2, [1])])
    'fiber 0.1 waits for fiber 0.2, fiber 0.2 waits for fiber 0.1'
    >>> explain([(1, [2])], [(2, "waits to take from a queue")])
    'fiber 0.2 waits to take from a queue, fiber 0.1 waits for fiber 0.2'
    """
    waits = dict(edges)
    cycle = _find_cycle(waits)
    shown = [(a, [b]) for a, b in zip(cycle, [*cycle[1:], *cycle[:1]])] if cycle else list(edges)
    lines = [] if cycle else [f"fiber {name_of(fiber)} {words}" for fiber, words in calls]
    lines += [_line(waiter, awaited) for waiter, awaited in shown]
    if len(lines) > _MOST_LINES:
        lines[_MOST_LINES:] = [f"and {len(lines) - _MOST_LINES} more"]
    return ", ".join(lines)


def _line(waiter: int, awaited: list[int]) -> str:
    names = [name_of(fiber) for fiber in awaited[:3]]
    more = f" and {len(awaited) - 3} more" if len(awaited) > 3 else ""
    return f"fiber {name_of(waiter)} waits for fiber {', '.join(names)}{more}"


def _find_cycle(waits: dict[int, list[int]]) -> list[int]:
    """A cycle of fibers each of which waits for the next; empty if there is none."""
    finished: set[int] = set()
    for start in waits:
        path: list[int] = []
        on_path: dict[int, int] = {}
        pending: list[tuple[int, int]] = [(start, 0)]
        while pending:
            fiber, depth = pending.pop()
            while len(path) > depth:
                done = path.pop()
                del on_path[done]
                finished.add(done)
            if fiber in on_path:
                return path[on_path[fiber] :]
            if fiber in finished:
                continue
            on_path[fiber] = len(path)
            path.append(fiber)
            pending += [(awaited, depth + 1) for awaited in waits.get(fiber, ())]
        finished.update(path)
    return []
