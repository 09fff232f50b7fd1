"""Vocabularies trained with the paper's settings: the same every time, and clear words when they cannot be."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from litebert.errors import OutputError, TokenizerError
from litebert.text.normalize import Normalization
from litebert.text.tokenizer import Tokenizer, load_tokenizer
from litebert.text.training import count_words, train_tokenizer


def test_the_same_text_gives_the_same_tokenizer(prose: list[str], tmp_path: Path, small: Tokenizer) -> None:
    def once() -> Iterator[str]:
        yield from reversed(prose)

    again = train_tokenizer(once(), tmp_path / "again", vocab_size=1500)
    assert again.fingerprint == small.fingerprint
    assert load_tokenizer(tmp_path / "again").fingerprint == small.fingerprint
    assert again.vocab_size == 1500
    for file in (tmp_path / "again").iterdir():
        assert str(tmp_path).encode() not in file.read_bytes()


def test_pieces_and_settings_are_the_papers(small: Tokenizer) -> None:
    first = [small.id_to_piece(i) for i in range(13)]
    assert first == ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]", "(", ")", '"', "-", ".", "–", "£", "€"]
    pieces = [small.id_to_piece(i) for i in range(13, small.vocab_size)]
    assert "▁the" in pieces
    assert all(piece == piece.lower() for piece in pieces)
    assert all(len(piece) <= 16 and "é" not in piece for piece in pieces)
    assert max(len(small.encode(word).ids) for word in ("the", "function", "(", ")")) <= 4


def test_nothing_is_printed(prose: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    train_tokenizer(prose[-120:], tmp_path, vocab_size=200)
    with pytest.raises(TokenizerError):
        train_tokenizer(prose[-120:], tmp_path / "other")
    assert capfd.readouterr() == ("", "")


def test_a_vocabulary_too_large_or_too_small_says_what_would_work(prose: list[str], tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match=r"30000 pieces are too many .* at most (\d+)$") as caught:
        train_tokenizer(prose[-110:], tmp_path / "large")
    largest = int(str(caught.value).split()[-1])
    assert train_tokenizer(prose[-110:], tmp_path / "fits", vocab_size=largest).vocab_size == largest
    with pytest.raises(TokenizerError, match=r"20 pieces are too few .* at least (\d+)$") as caught:
        train_tokenizer(prose[-110:], tmp_path / "small", vocab_size=20)
    smallest = int(str(caught.value).split()[-1])
    assert train_tokenizer(prose[-110:], tmp_path / "tight", vocab_size=smallest).vocab_size == smallest
    assert sorted(folder.name for folder in tmp_path.iterdir()) == ["fits", "tight"]


@pytest.mark.parametrize("texts", [[], [""], ["  \n\t"], ["\u0301"], ["\x00\ud800"], ["x" * 5000]])
def test_no_text_is_an_error(texts: list[str], tmp_path: Path) -> None:
    with pytest.raises(TokenizerError) as caught:
        train_tokenizer(texts, tmp_path / "out", vocab_size=300)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_place_that_cannot_be_written(prose: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="is a file"):
        train_tokenizer(prose[-110:], tmp_path / "file", vocab_size=200)
    assert (tmp_path / "file").is_file()


def test_counting_forgets_the_rarest_words_only() -> None:
    texts = ["Common WORD " * 5, *(f"rare{i} common" for i in range(100))]
    counts = count_words(texts, Normalization(), most=50)
    assert counts["common"] == 105
    assert counts["word"] == 5
    assert len(counts) <= 50
    everything = count_words(texts, Normalization(), most=1000)
    assert len(everything) == 102
    assert count_words(["x" * 2500 + " b"], Normalization(), most=10) == {"x" * 1000: 2, "x" * 500: 1, "b": 1}
