from job.contract.documents import Seconds
from job.stages import StageClock


class Hands:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.time_s = 100.0

    def __call__(self) -> float:
        return self.time_s


def test_an_evaluation_in_the_middle_of_training_counts_as_evaluation_alone() -> None:
    hands = Hands()
    clock = StageClock(hands)
    with clock.stage("train"):
        hands.time_s += 5
        with clock.stage("evaluate"):
            hands.time_s += 3
        hands.time_s += 2
    hands.time_s += 50  # between stages: nobody's
    seconds = clock.seconds()
    assert (seconds.train, seconds.evaluate, seconds.publish) == (7.0, 3.0, 0.0)
    assert clock.working_s() == 10.0


def test_the_seconds_of_a_resumed_attempt_are_added() -> None:
    hands = Hands()
    clock = StageClock(hands, startup_s=1.5)
    clock.add(Seconds(startup=2, data=1, train=10, evaluate=4, publish=0))
    with clock.stage("train"):
        hands.time_s += 1
        assert clock.seconds() == Seconds(startup=3.5, data=1, train=11, evaluate=4, publish=0)
