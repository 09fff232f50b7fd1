"""Which documents were seen before, in a few bytes each."""

import hashlib

import numpy as np
import numpy.typing as npt

Digests = npt.NDArray[np.uint64]


def text_digest(text: bytes) -> int:
    """A 64-bit digest of a document's text: equal texts have equal ones, and splits are chosen by it.

    Two different texts among n share one with a probability of n * n / 2**65: one in 370,000 for ten million.
    """
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


class DigestSet:
    """A growing set of 64-bit digests in 8 bytes each, twice that for a moment while it is reorganised.

    The digests lie in sorted arrays of falling length, the last two merged whenever they are alike in
    length, so n digests lie in at most log2(n) arrays and each is moved at most log2(n) times.
    """

    def __init__(self, digests: Digests | None = None) -> None:
        self._runs: list[Digests] = []
        if digests is not None and len(digests):
            self._runs.append(np.unique(digests))

    def __len__(self) -> int:
        return sum(map(len, self._runs))

    def add(self, digests: Digests) -> npt.NDArray[np.bool_]:
        """Add digests (n,); for each whether it is new, which the second of two equal ones is not."""
        new = np.zeros(len(digests), dtype=bool)
        new[np.unique(digests, return_index=True)[1]] = True
        for run in self._runs:
            place = np.searchsorted(run, digests)
            new &= run[np.minimum(place, len(run) - 1)] != digests
        if new.any():
            self._runs.append(np.sort(digests[new]))
        while len(self._runs) > 1 and len(self._runs[-2]) < 2 * len(self._runs[-1]):
            pair = np.concatenate([self._runs.pop(), self._runs.pop()])
            pair.sort(kind="stable")  # merges the two sorted halves
            self._runs.append(pair)
        return new

    def smallest(self) -> int:
        """The smallest digest; the set must not be empty."""
        return min(int(run[0]) for run in self._runs)

    def largest(self) -> int:
        """The largest digest; the set must not be empty."""
        return max(int(run[-1]) for run in self._runs)
