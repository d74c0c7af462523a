"""What every command line of `workflow/scripts/` shares: arguments, logging, errors, atomic output."""

import errno
import logging
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sparsemill import manifest
from sparsemill.command_line import json_object, named_inputs, parse_arguments
from sparsemill.errors import UserError
from sparsemill.files import atomic_folder, canonical_json, file_hash, make_folder, text_hash

logger = logging.getLogger("sparsemill")

_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass
class Job:
    """One run of a stage.

    Attributes:
        stage: the rule's name.
        key: readable id of the artefact, its path below the results folder.
        spec: the stage's slice of the resolved config.
        inputs: input name -> folders or files, in the order given.
        out: the folder that will hold the outputs; inside `run`, and after a failure, it is a temporary folder beside
            the final one.
        state: a folder that survives a failed run, for checkpoints.
        threads: CPU threads to use.
        facts: what the stage wants to keep in the manifest (counts, sizes).
        describe: called last with the folder, its manifest, and the manifests of the inputs by name; files that it
            writes are no outputs, so that they may speak of the commit and the machine.
    """

    stage: str
    key: str
    spec: dict[str, Any]
    inputs: dict[str, list[Path]]
    out: Path
    state: Path
    threads: int
    facts: dict[str, Any] = field(default_factory=dict)
    device: str = "cpu"
    describe: Callable[[Path, dict[str, Any], dict[str, dict[str, Any]]], None] | None = None

    def input(self, name: str) -> Path:
        """The one input of that name."""
        (path,) = self.inputs[name]
        return path

    def own_state(self, **chosen: str) -> Path:
        """A folder in `state` for this spec and these inputs; what others left is removed, so that they start anew.

        Args:
            chosen: what the machine decides where the spec says `auto`, if parts made in two ways must not be joined.
        """
        return state_folder(self.state, {"spec": self.spec, "inputs": input_contents(self.inputs), **chosen})


def _discard(path: Path) -> None:
    """Remove a part of a state folder; renamed first, so that a kill leaves no half of it under its name."""
    gone = path.with_name(f".gone-{path.name}")
    shutil.rmtree(gone, ignore_errors=True)
    path.replace(gone)
    if gone.is_dir():
        shutil.rmtree(gone)
    else:
        gone.unlink()


def state_folder(root: Path, identity: dict[str, Any]) -> Path:
    """Where checkpoints of this spec and these inputs live; others are removed, so that a changed run starts anew."""
    folder = root / text_hash(canonical_json(identity))
    for other in list(root.glob("*")):
        if other != folder:
            _discard(other)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _process() -> int:
    """Which of several processes of one stage this is (`torchrun`); 0 writes, the others only compute."""
    return int(os.environ.get("RANK", "0"))


def _start_logging(path: Path | None) -> None:
    handlers: list[logging.Handler] = [logging.StreamHandler()]
    if path is not None:
        make_folder(path.parent)
        try:
            if _process() == 0:
                path.write_bytes(b"")
            handlers.append(logging.FileHandler(path, mode="a", encoding="utf-8"))
        except OSError as error:
            raise UserError(f"{path}: cannot be written: {error.strerror}") from None
        if _process() > 0:
            handlers[-1].addFilter(lambda record: record.exc_info is not None)
    handlers[0].setLevel(logging.WARNING)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", handlers=handlers)


def input_contents(inputs: dict[str, list[Path]]) -> dict[str, str]:
    """Input name -> `content` of its manifest, or a file's SHA-256; `name[i]` where there are several.

    Folders without a manifest are left out.
    """
    contents = {}
    for name, paths in inputs.items():
        for number, path in enumerate(paths):
            place = name if len(paths) == 1 else f"{name}[{number}]"
            if path.is_file():
                contents[place] = file_hash(path)
            elif (path / manifest.NAME).exists():
                contents[place] = manifest.read(path)["content"]
    return contents


def _execute(job: Job, run: Callable[[Job], None]) -> None:
    if _process() > 0:
        run(job)
        return
    started = time.time()
    final = job.out
    with atomic_folder(final) as folder:
        job.out = folder
        run(job)
        described = manifest.build(
            folder,
            stage=job.stage,
            key=job.key,
            spec=job.spec,
            inputs=input_contents(job.inputs),
            facts=job.facts,
            started=started,
            device=job.device,
        )
        if job.describe is not None:
            known = {name: paths[0] for name, paths in job.inputs.items() if (paths[0] / manifest.NAME).exists()}
            job.describe(folder, described, {name: manifest.read(path) for name, path in known.items()})
        manifest.write(folder, described)
    job.out = final  # where what runs at the end of the process finds the manifest
    with suppress(OSError):
        for part in list(job.state.glob("*")):
            _discard(part)
    shutil.rmtree(job.state, ignore_errors=True)


def _who(stage: str) -> str:
    return f"{stage}[{_process()}]" if _process() else stage


def _fail(stage: str, message: str, status: int) -> int:
    print(f"{_who(stage)}: error: {message}", file=sys.stderr, flush=True)
    logger.info("%s failed: %s", _who(stage), message, exc_info=True)
    return status


class _Terminated(KeyboardInterrupt):
    """SIGTERM, as schedulers send it: ends a stage as Ctrl-C does."""


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Raise `_Terminated` where SIGTERM would end the process at once and leave its temporary folder.

    Not under `torchrun`, whose processes may wait for each other in code that no exception reaches, and not in forked
    processes.
    """
    own = os.getpid()

    def end(number: int, _: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        if os.getpid() == own:
            raise _Terminated
        os.kill(os.getpid(), number)

    free = signal.getsignal(signal.SIGTERM) == signal.SIG_DFL and "RANK" not in os.environ
    if free and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) is end:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def main(stage: str, run: Callable[[Job], None], *, doc: str | None = None, argv: list[str] | None = None) -> int:
    """Run a stage's command line and return its exit status.

    Under `torchrun` the first process writes outputs, manifest and log; into the log the others write what they fail
    with.
    0: done; 2: a user's mistake, told in one line; 130: interrupted, 143: by SIGTERM. An unforeseen exception keeps its
    traceback.
    """
    arguments = parse_arguments(stage, doc=doc, argv=argv)
    limit_threads(arguments.threads)
    key = arguments.key or arguments.out.as_posix()
    if _process() == 0:
        print(f"> {stage}: {key}", file=sys.stderr, flush=True)
    try:
        _start_logging(arguments.log)
        job = Job(
            stage=stage,
            key=key,
            spec=json_object("--spec", arguments.spec),
            inputs=named_inputs(arguments.inputs),
            out=arguments.out,
            state=arguments.state or arguments.out.with_name(arguments.out.name + ".state"),
            threads=arguments.threads,
            facts=json_object("--facts", arguments.facts),
        )
        with _terminated_as_interrupted():
            _execute(job, run)
    except UserError as error:
        return _fail(stage, str(error), 2)
    except KeyboardInterrupt as error:
        status = 128 + (signal.SIGTERM if isinstance(error, _Terminated) else signal.SIGINT)
        return _fail(stage, "interrupted; run the same command again to go on", status)
    except Exception as error:
        # safetensors and torch report a full disk with exceptions of their own
        if getattr(error, "errno", None) in _FULL or any(os.strerror(number) in str(error) for number in _FULL):
            return _fail(stage, f"no space left on the disk for {arguments.out}; free some and run again", 2)
        # Into the log file; the terminal gets it from the interpreter.
        logger.info("%s: unforeseen", _who(stage), exc_info=True)
        raise
    return 0


_THREADS = tuple(f"{library}_NUM_THREADS" for library in ("OMP", "MKL", "OPENBLAS", "NUMBA", "RAYON"))


def limit_threads(count: int) -> None:
    """Make numerical libraries that are imported later use `count` threads."""
    for name in _THREADS:
        os.environ[name] = str(count)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true" if count > 1 else "false")
