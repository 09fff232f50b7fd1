"""What a model without a task answers; `to_dict` gives the fields that files and the wire carry. The records of the
tasks stand in their files in `litebert.tasks`."""

from typing import Any, NamedTuple

from litebert.tasks.task import DIGITS


class Candidate(NamedTuple):
    """A piece that may stand at a mask."""

    piece: str
    """As in the vocabulary: "▁" marks the beginning of a word."""
    score: float
    """Its probability among all pieces."""


class Completion(NamedTuple):
    """What a pre-trained model makes of a text with masks, or of two texts."""

    masks: list[list[Candidate]]
    """For each mask, in the order of the text, the likeliest pieces, the best first."""
    order_score: float | None
    """Probability that the second text follows the first; None without a second text."""

    def to_dict(self) -> dict[str, Any]:
        """`masks` [[{`piece`, `score`}]], and `order_score` where there is one."""
        masks = [
            [{"piece": candidate.piece, "score": round(candidate.score, DIGITS)} for candidate in mask]
            for mask in self.masks
        ]
        order = {} if self.order_score is None else {"order_score": round(self.order_score, DIGITS)}
        return {"masks": masks} | order
