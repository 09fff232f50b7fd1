"""What a model answers, one record a row; `to_dict` gives the fields that files and the wire carry."""

from typing import Any, NamedTuple, Protocol

DIGITS = 6
"""Digits of a probability in a file; in Python nothing is rounded."""


class Answer(Protocol):
    """One row's answer."""

    def to_dict(self) -> dict[str, Any]:
        """The fields of the record that is written, as plain values."""


class Classification(NamedTuple):
    """The label of a text."""

    label: str
    score: float
    """Probability of the label."""
    scores: dict[str, float]
    """Probability of every label, in the model's order."""

    def to_dict(self) -> dict[str, Any]:
        """`label`, `score`, `scores`."""
        scores = {label: round(score, DIGITS) for label, score in self.scores.items()}
        return {"label": self.label, "score": round(self.score, DIGITS), "scores": scores}


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
