"""Speed, size and memory of `litebert prepare`: on a corpus, and on three times its text made distinct.

    LITEBERT_DATA=... python benchmarks/prepare.py [--processes 2] [--times 1 3] [--exclude FOLDER...]

The memory is the largest sum of the resident memory of all processes, looked at ten times a second; pages that
they share count once for each. The last line of the output is one JSON object. Needs Linux (/proc).
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from litebert.data.prepare import prepare
from litebert.data.sources import find_files, read_documents

PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> None:
    arguments = parse()
    if arguments.alone:
        print(json.dumps(run_once(arguments)))
        return
    results = []
    with tempfile.TemporaryDirectory(dir=arguments.temporary) as folder:
        for times in arguments.times:
            texts = [arguments.corpus] if times == 1 else multiply(arguments.corpus, times, Path(folder))
            result = watch(arguments, texts, Path(folder) / f"data-{times}")
            results.append({"times": times, **result})
            print(line(results[-1]), flush=True)
    print(json.dumps({"benchmark": "prepare", "processes": arguments.processes, "runs": results}))


def parse() -> argparse.Namespace:
    data = Path(os.environ.get("LITEBERT_DATA", "."))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--corpus", type=Path, default=data / "corpus")
    parser.add_argument("--tokenizer", type=Path, default=data / "vocab" / "30k-clean.model")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--times", type=int, nargs="+", default=[1, 3])
    parser.add_argument("--exclude", type=Path, nargs="*", default=[], help="evaluation texts to keep out")
    parser.add_argument("--temporary", type=Path, help="where some gigabytes have room")
    parser.add_argument("--alone", type=Path, nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def run_once(arguments: argparse.Namespace) -> dict[str, Any]:
    """What runs in a process of its own."""
    given = {"processes": arguments.processes, "exclude": arguments.exclude}
    report = prepare(arguments.alone, arguments.tokenizer, arguments.out, **given)
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu = sum(use.ru_utime + use.ru_stime for use in usage)
    largest = {f"largest_{name}_mb": use.ru_maxrss / 1e3 for name, use in zip(("main", "worker"), usage, strict=True)}
    kept = ("documents", "sentences", "tokens", "text_bytes", "duplicates", "disk_bytes", "disk_per_text_byte")
    counts = {name: value for name, value in report.to_dict().items() if name in kept}
    pace = {"seconds": report.seconds, "megabytes_per_second": report.megabytes_per_second}
    per_core = {"cpu_seconds": cpu, "megabytes_per_cpu_second": report.text_bytes / 1e6 / cpu}
    return {**counts, **pace, **per_core, **largest}


def watch(arguments: argparse.Namespace, texts: list[Path], out: Path) -> dict[str, Any]:
    """Run once and look at the memory meanwhile."""
    command = [sys.executable, __file__, "--tokenizer", arguments.tokenizer, "--processes", arguments.processes]
    command += ["--out", out, "--alone", *texts, "--exclude", *arguments.exclude]
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True)
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, resident_mb(process.pid))
        time.sleep(0.1)
    assert process.stdout is not None
    if process.returncode:
        sys.exit(process.returncode)
    return {**json.loads(process.stdout.read()), "peak_mb": peak}


def resident_mb(root: int) -> float:
    """Resident memory of a process and all below it."""
    parents: dict[int, int] = {}
    pages: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            pages[int(path.name)] = int((path / "statm").read_text().split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended while we looked
    family, size = {root}, 0
    while len(family) > size:
        size = len(family)
        family |= {pid for pid, parent in parents.items() if parent in family}
    return sum(pages.get(pid, 0) for pid in family) * PAGE_MB


def multiply(corpus: Path, times: int, folder: Path) -> list[Path]:
    """The corpus `times` over as .jsonl, every text made distinct by a last line."""
    files = []
    for number, file in enumerate(find_files([corpus])):
        for copy in range(times):
            files.append(folder / f"{number}-{copy}.jsonl")
            with files[-1].open("w", encoding="utf-8") as rows:
                for document in read_documents(file):
                    rows.write(json.dumps({"text": f"{document.text}\nThis is copy {copy}."}) + "\n")
    return files


def line(result: dict[str, Any]) -> str:
    return (
        f"{result['times']} x: {result['text_bytes'] / 1e6:,.0f} MB of text, {result['documents']:,} documents,"
        f" {result['duplicates']:,} duplicates; {result['seconds']:.1f} s,"
        f" {result['megabytes_per_second']:.1f} MB/s ({result['megabytes_per_cpu_second']:.1f} MB a CPU second);"
        f" peak memory {result['peak_mb']:,.0f} MB; {result['disk_per_text_byte']:.3f} bytes on disk a byte of text"
    )


if __name__ == "__main__":
    main()
