"""The command line: the table of commands, and what becomes of their answers and errors.

The commands stand in `commands/`; everything heavy is imported inside them, so that `litebert --help` is quick. A
command returns an `Answer`: what `--json` prints, and what people read. Users' mistakes are one line on stderr and exit
code 2.
"""

import errno
import json
import os
import signal
import sys
import threading
from typing import NoReturn

from cyclopts import App, CycloptsError

from litebert import __version__
from litebert.commands import corpus, models, runs, speed, tasks
from litebert.commands.flags import Answer
from litebert.console import log, speaks
from litebert.errors import InputError, Stopped, UserError

app = App(
    name="litebert",
    version=__version__,
    help="The complete ALBERT system: raw text to pre-trained encoder, to task model, to answers on a plain CPU.\n\n"
    "Every command takes --json: stdout is then one JSON object and all else goes to stderr. What `predict` and "
    "`tokenizer encode` answer are JSON lines anyway.",
    help_format="markdown",
)
tokenizer = App(name="tokenizer", help="Train a tokenizer, or see how one divides text.")
bench = App(name="bench", help="Measure litebert beside other systems, in turn; ends with one JSON line.")
data = App(name="data", help="Bring public models by name.")
for group in (tokenizer, bench, data):
    app.command(group)

tokenizer.command(corpus.tokenizer_train, name="train")
tokenizer.command(corpus.tokenizer_encode, name="encode")
data.command(corpus.data_get, name="get")
bench.command(speed.bench_pretrain, name="pretrain")
for command in (
    corpus.prepare,
    models.plan,
    runs.pretrain,
    runs.distill,
    runs.report,
    tasks.finetune,
    tasks.predict,
    tasks.evaluate,
    tasks.benchmark,
    models.convert,
    models.compress,
):
    app.command(command)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line; exits with 0, 2 (the user's input is at fault) or 1 (we are)."""
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in tokens
    _end_by_exception()
    try:
        answer = app(
            _arguments(tokens),
            exit_on_error=False,
            print_error=False,
            result_action="return_value",
        )
        if isinstance(answer, Answer) and speaks():
            _show(answer, as_json)
        sys.stdout.flush()
    except Stopped as stop:
        log(f"litebert: {stop}")
        sys.exit(128 + stop.signal)
    except UserError as error:
        _fail(" ".join(str(error).split()))
    except CycloptsError as error:
        _fail(" ".join(str(error).split()) + " See: litebert --help")
    except BrokenPipeError:  # the reader of our output has gone; that is no fault of anyone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except RecursionError:
        _fail("a JSON or TOML value of a file, or of a cell, is nested too deeply to be read; make it flatter")
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            _fail(f"{str(error.filename)[:60]}…: the name is too long for a file; give a shorter one")
        raise
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(0)


def _arguments(tokens: list[str]) -> list[str]:
    """The arguments without what is read apart; raises UserError for one that is no text."""
    for token in tokens:
        if (shown := token.encode("utf-8", "replace").decode()) != token:
            raise InputError(f"{shown}: the name is not UTF-8; rename the file")
    # A lone hyphen, which is standard input or output, would be taken for an option: it stands for what is the default,
    # or goes with the option before it.
    found: list[str] = []
    for token in tokens:
        if token == "-" and found and found[-1].startswith("--") and "=" not in found[-1]:
            found[-1] += "=-"
        elif token not in ("--json", "-"):
            found.append(token)
    return found


def _show(answer: Answer, as_json: bool) -> None:
    if as_json:
        print(json.dumps(answer.data, ensure_ascii=False))
    elif callable(answer.text):
        answer.text()
    elif answer.text:
        print(answer.text)


def _fail(message: str) -> NoReturn:
    log(f"litebert: {message}")
    sys.exit(2)


def _end_by_exception() -> None:
    """Let a signal that would end the process at once end it as an error does, so that nothing half-made is left."""

    def end(number: int, frame: object) -> NoReturn:
        sys.exit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        if threading.current_thread() is threading.main_thread() and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, end)
