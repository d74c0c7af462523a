"""Command lines of stages: exit statuses, atomic outputs, signals, progress."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from called import call, failing, names, told, write

from sparsemill.errors import UserError
from sparsemill.files import file_hash
from sparsemill.job import Job, limit_threads, main
from sparsemill.teachers.blocks import kept

pytestmark = pytest.mark.usefixtures("keep_threads")


def test_done(tmp_path: Path) -> None:
    (tmp_path / "out.state").mkdir()
    assert call(tmp_path) == 0
    assert names(tmp_path) == ["out"]
    assert names(tmp_path / "out") == ["manifest.json", "sub"]


def test_job_has_what_the_command_line_says(tmp_path: Path) -> None:
    seen: list[Job] = []

    def run(job: Job) -> None:
        seen.append(Job(**vars(job)))
        assert job.out.is_dir()
        assert job.out.parent == tmp_path

    (tmp_path / "spec.json").write_text('{"steps": 3}')
    call_arguments = ["--spec", f"@{tmp_path / 'spec.json'}", "--out", str(tmp_path / "out"), "--threads", "2"]
    inputs = ["--in", "one", "a", "--in", "many", "b", "c", "--state", str(tmp_path / "elsewhere")]
    assert main("stage", run, argv=call_arguments + inputs) == 0
    (job,) = seen
    assert (job.stage, job.spec, job.threads, job.device) == ("stage", {"steps": 3}, 2, "cpu")
    assert job.key == (tmp_path / "out").as_posix()
    assert job.inputs == {"one": [Path("a")], "many": [Path("b"), Path("c")]}
    assert job.input("one") == Path("a")
    assert job.state == tmp_path / "elsewhere"


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (UserError("x.json: no such file"), 2, "make_out: error: x.json: no such file"),
        (KeyboardInterrupt(), 130, "make_out: error: interrupted; run the same command again to go on"),
        (OSError(errno.ENOSPC, "No space left on device"), 2, "make_out: error: no space left on the disk for "),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), 2, "make_out: error: no space left on the disk for "),
        (
            RuntimeError("I/O error: Disk quota exceeded (os error 122)"),
            2,
            "make_out: error: no space left on the disk",
        ),
    ],
)
def test_failures_are_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], error: BaseException, status: int, line: str
) -> None:
    assert call(tmp_path) == 0
    before = file_hash(tmp_path / "out" / "manifest.json")
    assert call(tmp_path, failing(error), spec={"text": "new"}) == status
    (printed,) = told(capsys)
    assert printed.startswith(line)
    # the old output is as it was, checkpoints are kept, nothing else is left
    assert file_hash(tmp_path / "out" / "manifest.json") == before
    assert (tmp_path / "out" / "sub" / "file.txt").read_text() == "hello"
    assert names(tmp_path) == ["out", "out.state"]


def test_an_unforeseen_error_is_not_hidden(tmp_path: Path) -> None:
    for error in (RuntimeError("bug"), PermissionError(errno.EACCES, "denied")):
        with pytest.raises(type(error)):
            call(tmp_path, failing(error))
        assert names(tmp_path) == ["out.state"]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("{", "--spec: not JSON at character 1"),
        ("@nowhere.json", "nowhere.json: no such file"),
        ("[1]", "--spec: must be a JSON object, not [1]"),
    ],
)
def test_an_unreadable_spec_is_a_users_mistake(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], spec: str, message: str
) -> None:
    assert main("stage", write, argv=["--spec", spec, "--out", str(tmp_path / "out")]) == 2
    (printed,) = told(capsys)
    assert message in printed


@pytest.mark.parametrize("option", ["--out", "--log"])
def test_a_place_that_cannot_be_written_is_a_users_mistake(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    (tmp_path / "file").write_text("")
    places = {"--out": "out", option: "file/deep/out"}
    arguments = [word for name, place in places.items() for word in (name, str(tmp_path / place))]
    assert main("stage", write, argv=["--spec", "{}", *arguments]) == 2
    (printed,) = told(capsys)
    assert printed == f"stage: error: {tmp_path / 'file' / 'deep'}: cannot be made: Not a directory"
    assert names(tmp_path) == ["file"]


def test_a_folder_that_is_read_only_is_a_users_mistake(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: Any) -> str:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    assert call(tmp_path) == 2
    assert told(capsys) == [f"make_out: error: {tmp_path}: cannot be written to: Read-only file system"]


def test_process_ends_with_status_line_and_log(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import logging, sys\n"
        "from sparsemill.errors import UserError\n"
        "from sparsemill.job import main\n"
        "def run(job):\n"
        "    logging.getLogger('sparsemill').info('a detail')\n"
        "    raise UserError('wrong')\n"
        "sys.exit(main('stage', run))\n"
    )
    command = [sys.executable, script, "--spec", "{}", "--out", tmp_path / "out", "--log", tmp_path / "logs" / "x.log"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [f"> stage: {tmp_path / 'out'}", "stage: error: wrong"]
    log = (tmp_path / "logs" / "x.log").read_text()
    assert "INFO a detail" in log
    assert "failed: wrong" in log
    assert names(tmp_path) == ["logs", "script.py"]


def test_every_process_says_in_the_log_why_it_failed(tmp_path: Path) -> None:
    script, log = tmp_path / "script.py", tmp_path / "logs" / "x.log"
    script.write_text(
        "import logging, os, sys\n"
        "from sparsemill.errors import UserError\n"
        "from sparsemill.job import main\n"
        "def run(job):\n"
        "    logging.getLogger('sparsemill').info('a detail of %s', os.environ['RANK'])\n"
        "    print('runs', flush=True)\n"
        "    sys.stdin.readline()\n"
        "    errors = [ConnectionError('closed'), UserError('wrong'), ValueError('odd')]\n"
        "    raise errors[int(os.environ['RANK'])]\n"
        "sys.exit(main('stage', run))\n"
    )
    log.parent.mkdir()
    log.write_text("of an earlier try")
    command = [sys.executable, script, "--spec", "{}", "--out", tmp_path / "out", "--log", log]
    started = []
    for rank in range(3):
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        started.append(subprocess.Popen(command, env={**os.environ, "RANK": str(rank)}, text=True, **pipes))
        assert started[-1].stdout.readline() == "runs\n"
    for process in reversed(started):
        process.communicate("\n")
    written = log.read_text()
    assert "earlier" not in written
    assert written.count("a detail of") == written.count("a detail of 0") == 1
    for line in ("stage[1] failed: wrong", "stage[2]: unforeseen", "ValueError: odd", "stage: unforeseen", "closed"):
        assert line in written


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_checkpoints_and_nothing_else(tmp_path: Path, number: int, status: int) -> None:
    """A forked process that is ended by the same signal says nothing."""
    script = tmp_path / "script.py"
    script.write_text(
        "import multiprocessing, signal, sys, time\n"
        "from sparsemill.job import main\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background jobs ignore it
        "def run(job):\n"
        "    (job.out / 'half').write_text('half')\n"
        "    (job.own_state() / 'checkpoint').write_text('1')\n"
        "    child = multiprocessing.get_context('fork').Process(target=time.sleep, args=(60,))\n"
        "    child.start()\n"
        "    time.sleep(0.2)\n"
        "    child.terminate()\n"
        "    child.join()\n"
        "    print(child.exitcode, flush=True)\n"
        "    time.sleep(60)\n"
        "sys.exit(main('stage', run))\n"
    )
    command = [
        sys.executable,
        str(script),
        "--spec",
        "{}",
        "--out",
        str(tmp_path / "out"),
        "--log",
        str(tmp_path / "log"),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"{-signal.SIGTERM}\n"
        process.send_signal(number)
        _, told_last = process.communicate(timeout=60)
    assert process.returncode == status
    assert told_last.splitlines()[1:] == ["stage: error: interrupted; run the same command again to go on"]
    assert "failed: interrupted" in (tmp_path / "log").read_text()
    assert names(tmp_path) == ["log", "out.state", "script.py"]


class Killed(BaseException):
    pass


@pytest.mark.parametrize("other", [False, True], ids=["of the same run", "of another run"])
def test_a_kill_while_checkpoints_are_removed_leaves_no_half_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: bool
) -> None:
    def run(job: Job) -> None:
        block = kept(job.own_state(), "block", lambda: np.zeros(3, np.float32))
        (job.out / "sum").write_text(str(block[:].sum()))

    remove = shutil.rmtree

    def cut(path: Path, **options: Any) -> None:
        files = [file for file in Path(path).rglob("*") if file.is_file() and "out.state" in file.parts]
        for file in files:
            file.unlink()
        if files:
            raise Killed
        remove(path, **options)

    def stop(job: Job) -> None:
        run(job)
        raise KeyboardInterrupt

    if other:
        assert call(tmp_path, stop) == 130
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", cut)
        with pytest.raises(Killed):
            call(tmp_path, run, spec={"b": 1} if other else {})
    assert call(tmp_path, run) == 0
    assert names(tmp_path) == ["out"]


def test_files_that_others_put_beside_checkpoints_do_not_matter(tmp_path: Path) -> None:
    (tmp_path / "out.state").mkdir()
    (tmp_path / "out.state" / ".DS_Store").write_text("")

    def run(job: Job) -> None:
        assert [path.name for path in job.state.iterdir()] == [job.own_state().name]
        write(job)

    def begin(job: Job) -> None:
        job.own_state()
        run(job)

    assert call(tmp_path, begin) == 0
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize(("count", "parallel"), [(1, "false"), (8, "true")])
def test_tokenizers_use_the_cores_of_their_job(monkeypatch: pytest.MonkeyPatch, count: int, parallel: str) -> None:
    monkeypatch.delenv("TOKENIZERS_PARALLELISM")
    limit_threads(count)
    assert os.environ["TOKENIZERS_PARALLELISM"] == parallel
    assert os.environ["RAYON_NUM_THREADS"] == str(count)
