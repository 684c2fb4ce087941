"""Faults of an agent's processes and of the wall clock that they see."""

import signal

from netlab.chaos.judge import NANO
from netlab.chaos.plan import Planned
from netlab.chaos.scene import Begin, Done, Scene

LONGEST_STEP = 7200
"""Seconds by which a wall clock is stepped at most, either way."""


def kill(which: str) -> Begin:
    """SIGKILL of one or both processes; the agent stays down while it lasts."""

    def begin(scene: Scene, planned: Planned) -> Done:
        node = scene.victim(planned)
        undo = scene.keep_down(node)
        scene.signal(scene.pids(node, which), signal.SIGKILL)
        return Done(node, undo)

    return begin


def freeze(which: str) -> Begin:
    """SIGSTOP, and SIGCONT at the end."""

    def begin(scene: Scene, planned: Planned) -> Done:
        node = scene.victim(planned)
        pids = scene.pids(node, which)
        scene.signal(pids, signal.SIGSTOP)
        return Done(node, lambda: scene.signal(pids, signal.SIGCONT))

    return begin


def terminate(scene: Scene, planned: Planned) -> Done:
    """A planned stop, and a start at the end."""
    node = scene.victim(planned)
    undo = scene.keep_down(node)
    scene.signal(scene.pids(node, "control"), signal.SIGTERM)
    return Done(node, undo)


def step_clock(scene: Scene, planned: Planned) -> Done:
    """The wall clock of an agent jumps, and back at the end. Nothing is excused: no decision may read it."""
    node = scene.victim(planned)
    clock = scene.lab.clocks[node]
    seconds = round((planned.chance * 7 % 1 - 0.5) * 2 * LONGEST_STEP)
    scene.history.steps.add(seconds * NANO)
    clock.step(seconds)
    return Done(f"{node} by {seconds:+} s", lambda: clock.step(0))
