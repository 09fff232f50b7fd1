"""How fast one core makes masked, packed batches out of a prepared folder.

    python benchmarks/batches.py DATA [--seconds 10]

DATA is a folder that `litebert prepare` wrote. Ends with one JSON line: tokens a second at lengths 64, 128 and 512.
"""

import argparse
import json
import time
from pathlib import Path

from litebert.data.batches import BatchStream, DataSettings, SpecialIds, WindowSource, micro_batches
from litebert.data.pairs import PairSettings
from litebert.data.shards import TOKENIZER_FOLDER
from litebert.text.tokenizer import load_tokenizer


def tokens_per_second(folder: Path, length: int, seconds: float) -> float:
    """Make steps of 8,192 tokens until the time is over, opening the folder not counted."""
    tokenizer = load_tokenizer(folder / TOKENIZER_FOLDER)
    settings = DataSettings(batch_size=8192 // length, pairs=PairSettings(length=length))
    source = WindowSource({folder: 1.0}, SpecialIds.of(tokenizer), settings, seed=1)
    tokens, start = 0, time.process_time()
    for batch in BatchStream(source):
        micro_batches(batch, settings, tokenizer.pad_id, 1)
        tokens += batch.num_tokens
        if time.process_time() - start > seconds:
            break
    return tokens / (time.process_time() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seconds", type=float, default=10.0, help="processor time for each length")
    arguments = parser.parse_args()
    speeds = {length: tokens_per_second(arguments.data, length, arguments.seconds) for length in (64, 128, 512)}
    for length, speed in speeds.items():
        print(f"length {length}: {speed:,.0f} tokens/s")
    print(json.dumps({"tokens_per_second": {str(length): round(speed) for length, speed in speeds.items()}}))


if __name__ == "__main__":
    main()
