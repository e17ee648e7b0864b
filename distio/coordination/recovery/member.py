"""A member's part in recovery: it saves its fibers before they do what others see.

Rules
-----
- The coordinator has a snapshot of each fiber that came here. A fiber that is started here belongs
  to the *tree* of the one that has started it, and nobody else knows of it. If the member is lost,
  the fiber at the top of the tree goes on from its snapshot, and starts the others again.
- That is right as long as nobody has seen what a fiber of the tree has done. So before one of them
  does what others see, new snapshots are taken of all fibers in the tree. They leave in one batch
  with the effect. From then on each of them is the top of a tree of its own.
- Others see these: calls of primitives; a changed variable; a lock given back that the snapshot
  holds; the cancellation, the leaving and the end of a fiber that the coordinator knows.
- A fiber that can't be captured (see `recovery/capturing.py`) or pickled has no snapshot of that
  moment, and the coordinator is told so: an older one would do the same again.
- Where several threads step fibers, those that are started are saved at once, together with the one
  that starts them: so each is the top of a tree of its own before any other thread steps it.
- A call of an actor that is elsewhere is saved with its caller, as one that goes to the object.
- In runs that keep only how fibers came (`births`), no snapshot is taken: the coordinator is told
  what the fiber at the top has done, once.
- The outcome of a fiber that the coordinator knows is sent there before anybody sees it here. So is
  the outcome of each fiber to which a snapshot refers.
- The fibers of a run that was started here end with this member: none is saved.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from distio.coordination.cancellation.member import Cancellation
from distio.coordination.dispatch import handles
from distio.coordination.executor.tasks import Task
from distio.coordination.feature.member import Departure, MemberFeature
from distio.coordination.outcomes.mentioned import outcomes_of
from distio.coordination.recovery.capturing import ANYWHERE_ALL, Capturing, HeldBy
from distio.coordination.recovery.effects import EFFECTS, Effect
from distio.coordination.recovery.tasks import (
    Condition,
    RepeatRequest,
    Taken,
    TakeSnapshots,
)
from distio.coordination.references.member import References
from distio.coordination.state.destination import ANYWHERE, Destination
from distio.coordination.state.local_run import LocalRun
from distio.coordination.state.member import MemberState
from distio.coordination.state.tree import Tree
from distio.core.fiber import Fiber, Handle
from distio.core.outcomes import Leaving
from distio.protocol import messages as m
from distio.protocol import requests as rq
from distio.protocol.pieces import Bytes

__all__ = ["Answer", "Recovery"]

Following = Fiber | Task | None
Answer = Callable[[Fiber, Any], Following]


class Recovery(MemberFeature):
    """The trees of one member, each at its fibers."""

    def __init__(
        self,
        state: MemberState,
        references: References,
        cancellation: Cancellation,
        held_by: HeldBy,
    ) -> None:
        """
        Args:
            state: what is known of fibers here.
            references: those in snapshots are counted.
            cancellation: knows which fibers are to be told.
            held_by: what a fiber holds, but for one token of the lock of this key.
        """
        self._state = state
        self._references = references
        self._cancellation = cancellation
        self._capturing = Capturing(state, cancellation, held_by)

    # -- trees ----------------------------------------------------------------------------

    def fibers_arrived(self, chunk: m.Chunk, fibers: Sequence[Fiber]) -> None:
        """The coordinator has a snapshot of each of them."""
        run = self._state.runs[chunk.run]
        if run.snapshots != "off":
            for fiber in fibers:
                self._begin(run, fiber)

    def _begin(self, run: LocalRun, fiber: Fiber, *, is_unsaved: bool = False) -> None:
        held = frozenset(fiber.holds or ())
        fiber.tree = run.trees[fiber.id] = Tree(fiber, held, is_unsaved=is_unsaved)

    def fibers_left(self, departure: Departure) -> None:
        """The fibers leave their trees, and the trees go on without them."""
        for fiber in departure.fibers:
            if fiber.tree is not None:
                departure.run.trees.pop(fiber.id, None)
                fiber.tree.rest.pop(fiber.id, None)
                fiber.tree = None

    def run_ended(self, run: LocalRun) -> None:
        for tree in run.trees.values():
            tree.rest.clear()  # a fiber and its tree refer to each other
            tree.head.tree = None

    # -- what others see ------------------------------------------------------------------

    def guarded(self, answers: Mapping[type, Answer]) -> dict[type, Answer]:
        """The answers to what others see: each saves the fiber first."""
        return {kind: self._guard(answers[kind], effect) for kind, effect in EFFECTS.items()}

    def _guard(self, answer: Answer, effect_of: Effect) -> Answer:
        def save_and_answer(fiber: Fiber, request: Any) -> Following:
            tree = fiber.tree
            if tree is None or tree.is_doomed:
                return answer(fiber, request)
            effect = effect_of(fiber, request, self._state)
            if not effect:
                return answer(fiber, request)
            if self._state.runs[fiber.run].snapshots == "births":
                self._unsave(tree, effect)
                return answer(fiber, request)
            return self._save([tree], effect, fiber, answer)

        return save_and_answer

    def save(
        self, fiber: Fiber, effect: str, then: Answer, condition: Condition | None = None
    ) -> Following:
        """Save a fiber that came here, or was made by one that did, since it says so.

        Args:
            fiber: the fiber, which is with the executor.
            effect: what it has done, in words.
            then: answers the fiber.
            condition: under which snapshots are sent, of this fiber and of others; None: they are.

        Returns:
            The work with which the executor goes on.
        """
        if self._state.runs[fiber.run].snapshots == "births":
            self._unsave(fiber.tree, effect)
            return self._go_on(fiber, then)
        return self._save([fiber.tree], effect, fiber, then, condition)

    def saves_starts(self, tree: Tree) -> bool:
        """Whether fibers that are started below a fiber of this tree are saved at once.

        They are if other threads may step them, and the fiber is alone in its tree: others are left
        there that could not be saved.
        """
        run = self._state.runs[tree.head.run]
        is_alone = not (tree.rest or tree.is_doomed)
        return is_alone and self._state.threads > 1 and run.snapshots == "suspensions"

    def save_start(self, tree: Tree, then: Task) -> TakeSnapshots:
        """The task that saves a tree which consists of a fiber and those that it starts now.

        Args:
            tree: the tree; no executor has met the fibers that were started.
            then: the task that lets them be met, and their parent go on. It does so, too, if one
                of them can't be saved, for nobody has seen them yet.
        """
        condition, started = Condition(_go_on_all_the_same, needs_all=True), tree.fibers()
        return self._save([tree], "has started others", None, then, condition, started)

    def before_leaving(
        self,
        fibers: Sequence[Fiber],
        then: Task,
        parent: Fiber | None = None,
        destination: Destination = ANYWHERE,
    ) -> Task:
        """Fibers of one run are about to leave: save those with whom they are in a tree.

        Args:
            fibers: the fibers.
            then: the task that lets them leave.
            parent: the fiber that has started them just now, if one has.
            destination: where they go.

        Returns:
            The task that comes first.
        """
        trees = {
            id(tree): tree
            for fiber in fibers
            if (tree := fiber.tree) is not None
            and (tree.head is not fiber or tree.rest)
            and not tree.is_doomed
        }
        if not trees:
            return then
        effect = "has started a fiber that has moved on"
        if self._state.runs[fibers[0].run].snapshots == "births":
            for tree in trees.values():
                if any(fiber.tree is tree and fiber is not tree.head for fiber in fibers):
                    self._unsave(tree, effect)
            return then
        in_hand = [*fibers, *filter(None, [parent])]
        where = {fiber.id: destination for fiber in fibers}
        return self._save([*trees.values()], effect, None, then, in_hand=in_hand, where=where)

    def before_object_leaves(self, run: LocalRun, then: Task) -> Task:
        """The object of an actor of this run is about to leave: save those who have called it.

        Args:
            run: that of the object.
            then: the task that lets it leave.

        Returns:
            The task that comes first.
        """
        effect = "has called an object that has moved on"
        trees = [each for each in run.trees.values() if each.has_called and not each.is_doomed]
        if trees and run.snapshots == "suspensions":
            return self._save(trees, effect, None, then)
        for tree in trees:
            self._unsave(tree, effect)
        return then

    def _unsave(self, tree: Tree, effect: str) -> None:
        """In a run that keeps only how its fibers came, this one can't begin again from there."""
        if tree.is_unsaved:
            return
        tree.is_unsaved = True
        head = tree.head
        because = f"the fiber {effect}, so it can't begin again"
        unsaved = m.Unsaved(head.id, head.epoch, because, head.owner, head.scope)
        received = self._state.progress.received
        self._state.send(m.SaveFibers(head.run, received, [], [unsaved]))

    # -- snapshots ------------------------------------------------------------------------

    def _save(
        self,
        trees: Sequence[Tree],
        effect: str,
        fiber: Fiber | None,
        then: Answer | Task,
        condition: Condition | None = None,
        in_hand: Sequence[Fiber] = (),
        together: Sequence[Fiber] = (),
        where: Mapping[int, Destination] = ANYWHERE_ALL,
    ) -> TakeSnapshots:
        """The task that takes snapshots of all fibers in these trees.

        Args:
            trees: of one run.
            effect: what others are about to see.
            fiber: the fiber that does it, which is with the executor; None: fibers leave.
            then: answers the fiber, or what is to be done after that.
            condition: see `save`.
            in_hand: the fibers that the executor has, if they leave.
            together: those of the fibers that are to share a pickle, though they have begun.
            where: by fiber: where it goes on if the member is lost; else anywhere.
        """
        captured = self._capturing.trees(trees, fiber, in_hand, together, where)
        request = None if fiber is None else fiber.request
        mentioned = getattr(request, "handles", ())
        run = self._state.runs[trees[0].head.run]
        what = captured, self._state.progress.received, mentioned, effect
        return TakeSnapshots(run, *what, fiber, then, condition, self._taken)

    def save_together(self, fibers: Sequence[Fiber], effect: str, then: Task) -> Task:
        """The task that saves sleeping fibers of one run, and all in their trees, or none.

        Args:
            fibers: they share one pickle. One that wakes meanwhile is left out.
            effect: what has become of them, in words.
            then: the task that comes next, if they were saved.
        """
        trees = {fiber.tree: None for fiber in fibers}
        condition = Condition(_stay, needs_all=True)
        return self._save([*trees], effect, None, then, condition, together=fibers)

    def save_at_rest(
        self,
        run: LocalRun,
        fibers: Sequence[Fiber],
        saved: Callable[[Sequence[Fiber], Mapping[int, str]], None],
    ) -> TakeSnapshots:
        """The task that takes snapshots of fibers that are at rest.

        Args:
            run: that of the fibers.
            fibers: all fibers of some trees; nobody steps them until the snapshots are taken.
            saved: called with them, and why some could not be saved, when the snapshots leave.
        """
        captured = self._capturing.at_rest(fibers)

        def taken(taken: Taken) -> None:
            if run.id in self._state.runs:
                self._keep(taken, is_to_be_heard=True)
            reasons = {
                each.fiber.id: why
                for together, dumped, why in taken.snapshots
                for each in together
                if dumped is None
            }
            saved(fibers, reasons)

        received = self._state.progress.received
        said = received, (), "was with a worker that leaves"
        return TakeSnapshots(run, captured, *said, None, Task(), None, taken)

    def _taken(self, taken: Taken) -> Following:
        """Snapshots were taken: they leave, and then what others see."""
        if taken.run.id not in self._state.runs:
            return None
        if reason := taken.why_none():
            assert taken.condition is not None
            refused = taken.condition.refused
            if taken.fiber is None:
                return refused(taken.then)
            return self._go_on(taken.fiber, partial(refused, reason=reason))
        self._keep(taken)
        return self._go_on(taken.fiber, taken.then)

    def _keep(self, taken: Taken, *, is_to_be_heard: bool = False) -> None:
        """Send snapshots that were taken; each fiber is the top of a tree of its own now."""
        state, run = self._state, taken.run
        if state.progress.has_to_tell_of(run.id):
            state.flush(full=False)  # that a fiber was started is heard before all else of it
        chunks, unsaved = [], []
        for together, dumped, reason in taken.snapshots:
            # another thread has stepped the others, or they have left
            here = [
                each.fiber.tree is not None and self._capturing.sleeps_on(each) for each in together
            ]
            fibers = [each.fiber for each, is_here in zip(together, here) if is_here]
            if not fibers:
                continue
            if dumped is None and all(each.fiber.tree is not each.tree for each in together):
                continue  # another thread has saved it since, as it is now or later
            if dumped is None:
                because = f"the fiber {taken.effect}, and could not be saved then: {reason}"
                unsaved += [
                    m.Unsaved(fiber.id, fiber.epoch, because, fiber.owner, fiber.scope)
                    for fiber in fibers
                ]
            else:
                self._references.export(dumped.handles)
                first = together[0]
                chunk = run.chunk(
                    fibers, dumped, first.held, first.destination, is_waiting=first.is_waiting
                )
                if not all(here):
                    places = [place for place, is_here in enumerate(here) if is_here]
                    chunk = msgspec.structs.replace(chunk, places=places)
                chunks.append(chunk)
            for fiber in fibers:
                self._begin(run, fiber, is_unsaved=dumped is None)
        outcomes = self._export(run, taken.outcomes)
        calling = taken.calling if is_to_be_heard else []
        said = chunks, unsaved, *outcomes, calling, is_to_be_heard
        state.send(m.SaveFibers(run.id, taken.received, *said))

    def mentioned(
        self, run: LocalRun, handles: Sequence[Handle[Any, Any, Any]]
    ) -> Sequence[tuple[int, Leaving]]:
        """The outcomes that the coordinator is to keep, for something refers to these."""
        return outcomes_of(handles, run) if handles and run.snapshots != "off" else ()

    def send_outcomes(self, run: LocalRun, ended: Sequence[tuple[int, Leaving]]) -> None:
        """Let the coordinator keep outcomes to which what is said next refers."""
        if ended:
            outcomes = self._export(run, ended)
            received = self._state.progress.received
            self._state.send(m.SaveFibers(run.id, received, [], [], *outcomes))

    def _export(
        self, run: LocalRun, ended: Sequence[tuple[int, Leaving]]
    ) -> tuple[list[int], list[Bytes], list[tuple[int, list[int]]]]:
        """The fibers, their outcomes, and to what each of these refers."""
        for _, outcome in ended:
            self._references.export(outcome.handles)
        run.sent_outcomes.update(id for id, _ in ended)
        keys = [(index, [*outcome.keys]) for index, (_, outcome) in enumerate(ended)]
        references = [(index, some) for index, some in keys if some]
        return [id for id, _ in ended], [outcome.payload for _, outcome in ended], references

    def _go_on(self, fiber: Fiber | None, then: Answer | Task) -> Following:
        if fiber is None:
            assert isinstance(then, Task)
            return then
        assert not isinstance(then, Task)
        following = then(fiber, fiber.request)
        if following is None:
            self._cancellation.tell_parked(fiber)
        return following

    # -- fibers that go on ----------------------------------------------------------------

    def repeated(self, fiber: Fiber) -> RepeatRequest:
        """The task by which a fiber asks again for what it waits for in its snapshot."""
        return RepeatRequest(fiber, self.ask_again)

    def ask_again(self, fiber: Fiber) -> Following:
        """A fiber that is in no place asks for what it has asked for before."""
        state = self._state
        if fiber.run not in state.runs:
            return None
        if type(fiber.request) is rq.CallPrimitive:
            state.park(fiber, is_asked=True)
            state.send(m.RepeatCall(fiber.run, fiber.id))
            following = None
        else:
            if type(fiber.request) is rq.Sleep:
                fiber.request.is_repeated = True
            following = state.hooks.answer(fiber)
        if fiber.id in state.parked:
            self._cancellation.tell_parked(fiber)
        return following

    # -- losses ---------------------------------------------------------------------------

    @handles
    def loss_reported(self, message: m.LossReported) -> None:
        """A worker was lost that had fibers of runs that were started here."""
        self._state.tell_host(message)


def _stay(then: Task) -> None:
    """Fibers that can't be saved stay where they are."""


def _go_on_all_the_same(then: Task) -> Task:
    """Go on without snapshots: no other process has seen the fibers yet."""
    return then
