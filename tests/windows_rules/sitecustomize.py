"""Windows' rules for a Python process on Linux, as far as they can be had there.

Python imports this module at its start where its folder is on ``PYTHONPATH``, so the
rules hold in every process that a test starts. The pytest plugin beside it puts it there.

For the three packages of this project:

* ``sys.platform`` is ``win32`` and ``os.name`` is ``nt``; ``os`` and ``signal`` lack what
  they lack there (``os.O_NOFOLLOW``, ``os.fork``, ``signal.SIGKILL``);
* there is ``msvcrt.locking``, but no ``fcntl``, ``resource``, ``pwd`` and ``grp``;
* a file that this process has open, or mapped into memory, can be neither deleted nor
  renamed nor replaced, and no folder can be opened;
* a rename replaces no file; names such as ``a?.jpg``, ``NUL`` and ``a.`` make no file;
* text is written with ``\\r\\n``, and to open it without naming its encoding is an error;
* ``\\`` separates the parts of a ``Path``, as ``/`` does (in Python 3.11).

Not emulated: that ``str`` puts ``\\`` between the parts of a path, drives and UNC paths (tests with ``PureWindowsPath`` look at these), that
case does not count in names, files that another process has open, that what is locked
cannot be read through another handle, the length of paths, and how processes are ended.
Libraries keep their way on Linux; ``filelock`` locks as it does there.
"""

# ruff: noqa: PTH108, PTH112, PTH208

from __future__ import annotations

import ast
import builtins
import errno
import fcntl
import functools
import importlib.abc
import importlib.machinery
import io
import os
import pathlib
import re
import shutil
import signal  # noqa: F401 - stood in for below
import struct
import sys
import types
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PACKAGES = ("classification", "detection", "taxonomy")
ABSENT = {
    "os": """
        O_ASYNC O_CLOEXEC O_DIRECT O_DIRECTORY O_DSYNC O_NDELAY O_NOATIME O_NOCTTY
        O_NOFOLLOW O_PATH O_RSYNC O_SYNC O_TMPFILE chown chroot confstr
        ctermid eventfd fchdir fchmod fchown fork forkpty fstatvfs getegid geteuid getgid
        getgroups getloadavg getpgid getpgrp getpriority getsid getuid getxattr killpg
        lchown listxattr lockf memfd_create mkfifo mknod nice openpty pathconf pidfd_open
        pipe2 posix_fadvise posix_fallocate posix_spawn pread preadv pwrite pwritev
        register_at_fork sched_getaffinity sched_setaffinity sendfile setpgid setpriority
        setsid setuid setxattr splice statvfs sync sysconf ttyname uname wait wait3 wait4
        waitid WEXITSTATUS WIFEXITED WIFSIGNALED WTERMSIG
    """,
    "signal": """
        ITIMER_REAL SIGALRM SIGBUS SIGCHLD SIGCONT SIGHUP SIGKILL SIGPIPE SIGQUIT SIGSTOP
        SIGTSTP SIGTTIN SIGTTOU SIGUSR1 SIGUSR2 SIG_BLOCK alarm pause pthread_kill
        pthread_sigmask setitimer siginterrupt sigpending sigtimedwait sigwait
    """,
    "sys": "",
}
OTHER = {
    "os": {"name": "nt", "O_BINARY": os.O_LARGEFILE},  # a bit that changes nothing
    "signal": {},
    "sys": {"platform": "win32"},
}
# Modules that only pass on what others ask of the disk.
PASSING_ON = {__name__, "pathlib", "os", "io", "shutil", "contextlib"}
NO_NAME = re.compile(
    r'[<>:"|?*\x01-\x1f]|[. ]$|^(CON|PRN|AUX|NUL|COM\d|LPT\d)(\.|$)', re.IGNORECASE
)


LK_UNLCK, LK_NBLCK = 0, 2
IN_USE = (
    "The process cannot access the file because it is being used by another process"
)
# What is not under the rules: tests, and what locks in the way of Linux.
FREE = {"tests", "_pytest", "pytest", "execnet", "xdist", "filelock", "tempfile"}
real_open = io.open


def caller() -> str:
    """Return the package that asks something of the disk."""
    frame = sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__name__") in PASSING_ON:
        frame = frame.f_back
    return str(frame.f_globals.get("__name__")).partition(".")[0]


class Module(types.ModuleType):
    """A module of the standard library as it is on Windows."""

    def __init__(self, real: types.ModuleType) -> None:
        """Stand in for a module."""
        super().__init__(real.__name__)
        vars(self).update(_real=real, _absent=ABSENT[real.__name__].split())
        vars(self).update(OTHER[real.__name__])

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever it is
        """Return what the module has."""
        if name in self._absent:
            raise AttributeError(f"module {self.__name__} has no {name} on Windows")
        return getattr(self._real, name)

    def __setattr__(self, name: str, value: object) -> None:
        """Set it in the module itself."""
        setattr(self._real, name, value)


class Renaming(ast.NodeTransformer):
    """Lets code import the stand-ins."""

    def visit_Import(self, node: ast.Import) -> ast.Import:
        """Replace what is imported."""
        for alias in node.names:
            if alias.name in {*ABSENT, "msvcrt"}:
                alias.asname = alias.asname or alias.name
                alias.name = f"windows_{alias.name}"
        return node


class Loader(importlib.machinery.SourceFileLoader):
    """Loads a module of this project, which sees the stand-ins."""

    def get_code(self, fullname: str) -> types.CodeType:
        """Compile it anew: what is cached is for Linux."""
        path = self.get_filename(fullname)
        tree = Renaming().visit(ast.parse(self.get_data(path)))
        code: types.CodeType = compile(tree, path, "exec", dont_inherit=True)
        return code


class Finder(importlib.abc.MetaPathFinder):
    """Finds the modules of this project."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: types.ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        """Return where a module is, with the loader above."""
        if fullname.partition(".")[0] not in PACKAGES:
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(fullname, path, target)
            if spec is not None:
                if type(spec.loader) is importlib.machinery.SourceFileLoader:
                    spec.loader = Loader(fullname, spec.loader.path)
                return spec
        return None


def denied(path: object, why: str) -> PermissionError:
    return PermissionError(errno.EACCES, why, os.fspath(path))  # type: ignore[call-overload]


def check_unused(path: Any) -> None:  # noqa: ANN401 - as os takes it
    """Refuse a file that this process has open or mapped.

    Raises:
        PermissionError: it has.
    """
    try:
        there = os.lstat(path)
    except (OSError, ValueError):
        return
    with real_open("/proc/self/maps", "rb") as maps:
        if os.fsencode(f" {os.path.realpath(path)}\n") in maps.read():
            raise denied(path, f"{IN_USE} (this one has it mapped into memory)")
    for handle in os.listdir("/proc/self/fd"):
        try:
            is_open = os.path.samestat(os.fstat(int(handle)), there)
        except OSError:  # it was that of the listing
            continue
        if is_open:
            raise denied(path, f"{IN_USE} (this one has it open)")


def check_name(path: Any) -> None:  # noqa: ANN401 - as os takes it
    """Refuse to make a file of a name that Windows does not take.

    Raises:
        OSError: it is such a name.
    """
    for part in os.fsdecode(path).split("/"):
        if part not in {"", ".", ".."} and NO_NAME.search(part):
            raise OSError(errno.EINVAL, "Invalid argument", path)


def ruled(real: Callable[..., Any], *checks: Callable[..., None]) -> Callable[..., Any]:
    """Return a function of ``os`` that first checks each of its paths."""

    @functools.wraps(real)
    def wrapper(*args: Any, **options: Any) -> Any:  # noqa: ANN401
        if caller() not in FREE:
            for path, check in zip(args, checks, strict=False):
                if not isinstance(path, int):
                    check(path)
        return real(*args, **options)

    return wrapper


def check_no_folder(path: Any) -> None:  # noqa: ANN401
    if os.path.isdir(path):
        raise denied(path, "Permission denied")


def check_absent(path: Any) -> None:  # noqa: ANN401
    if os.path.lexists(path):
        raise FileExistsError(errno.EEXIST, "File exists", path)
    check_name(path)


def check_place(path: Any) -> None:  # noqa: ANN401
    check_unused(path)
    check_name(path)


def open_text(real: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``open`` with the ends of lines of Windows, for this project's text."""

    @functools.wraps(real)
    def wrapper(  # noqa: PLR0913, PLR0917
        file: Any,  # noqa: ANN401
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        *rest: Any,  # noqa: ANN401
        **options: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        if caller() in PACKAGES:
            if not isinstance(file, int) and not mode.startswith("r"):
                check_name(file)
            if "b" not in mode and encoding in {None, "locale"}:
                raise AssertionError(f"{file}: opened as text of no named encoding")
            if "b" not in mode and newline is None and not mode.startswith("r"):
                newline = "\r\n"
        return real(file, mode, buffering, encoding, errors, newline, *rest, **options)

    return wrapper


def locking(handle: int, mode: int, size: int) -> None:
    """Lock bytes of an open file, from where it stands, as ``msvcrt.locking`` does.

    Raises:
        PermissionError: another handle has them.
    """
    start = os.lseek(handle, 0, os.SEEK_CUR)
    if start + size >= 1 << 31:
        raise OSError(errno.EINVAL, "Invalid argument")
    kind = fcntl.F_UNLCK if mode == LK_UNLCK else fcntl.F_WRLCK
    lock = struct.pack("hhqqi4x", kind, os.SEEK_SET, start, size, 0)
    try:
        fcntl.fcntl(handle, fcntl.F_OFD_SETLK, lock)
    except OSError as error:
        raise PermissionError(errno.EACCES, "Permission denied") from error


def lock_files_go() -> None:
    """Let ``filelock`` remove its files, as it does on Windows."""
    import filelock  # noqa: PLC0415 - while it finds fcntl

    class FileLock(filelock.UnixFileLock):
        def _release(self) -> None:
            with suppress(OSError):
                os.unlink(self.lock_file)
            super()._release()

    filelock.FileLock = FileLock  # type: ignore[misc]


def install() -> None:
    """Put the rules in place."""
    if sys.version_info < (3, 12):
        flavour = type(pathlib.PosixPath._flavour)
        pathlib.PosixPath._flavour = type("Flavour", (flavour,), {"altsep": "\\"})()
    with suppress(ImportError):
        lock_files_go()
    for name in ABSENT:
        sys.modules[f"windows_{name}"] = Module(sys.modules[name])
    for name in ("fcntl", "resource", "pwd", "grp"):
        sys.modules[name] = None  # type: ignore[assignment]
    msvcrt = types.ModuleType("msvcrt")
    vars(msvcrt).update(locking=locking, LK_NBLCK=LK_NBLCK, LK_UNLCK=LK_UNLCK)
    sys.modules["windows_msvcrt"] = msvcrt
    sys.meta_path.insert(0, Finder())
    shutil._use_fd_functions = False  # it may only call what is ruled
    builtins.open = io.open = open_text(io.open)  # type: ignore[assignment]
    for name, *checks in (
        ("unlink", check_unused),
        ("remove", check_unused),
        ("replace", check_unused, check_place),
        ("rename", check_unused, check_absent),
        ("open", check_no_folder),
        ("mkdir", check_name),
    ):
        setattr(os, name, ruled(getattr(os, name), *checks))


install()
