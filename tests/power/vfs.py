"""SQLite's file layer (VFS) in ctypes: as much of its C interface as it takes to stand between SQLite and its files."""

from __future__ import annotations

import ctypes
import os
import sqlite3
from collections.abc import Callable
from ctypes import CFUNCTYPE, POINTER, Structure, c_char_p, c_int, c_int64, c_void_p
from typing import Any, Protocol

# A path is a `c_void_p` here: SQLite keeps the pointer, and finds the parameters of the URI behind the text.
OPEN = CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p, c_int, c_void_p)
DELETE = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int)
CLOSE = CFUNCTYPE(c_int, c_void_p)
WRITE = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_int64)
TRUNCATE = CFUNCTYPE(c_int, c_void_p, c_int64)
SYNC = CFUNCTYPE(c_int, c_void_p, c_int)
OPEN_DIRECTORY = CFUNCTYPE(c_int, c_void_p, c_void_p)
SET_SYSTEM_CALL = CFUNCTYPE(c_int, c_void_p, c_char_p, c_void_p)
GET_SYSTEM_CALL = CFUNCTYPE(c_void_p, c_void_p, c_char_p)
OK, IOERR = 0, 10


class Vfs(Structure):
    """`sqlite3_vfs`, version 3."""

    _fields_ = [
        ("iVersion", c_int),
        ("szOsFile", c_int),
        ("mxPathname", c_int),
        ("pNext", c_void_p),
        ("zName", c_char_p),
        ("pAppData", c_void_p),
        *((name, c_void_p) for name in ("xOpen", "xDelete", "xAccess", "xFullPathname", "xDlOpen", "xDlError")),
        *((name, c_void_p) for name in ("xDlSym", "xDlClose", "xRandomness", "xSleep", "xCurrentTime")),
        *((name, c_void_p) for name in ("xGetLastError", "xCurrentTimeInt64")),
        *((name, c_void_p) for name in ("xSetSystemCall", "xGetSystemCall", "xNextSystemCall")),
    ]


class IoMethods(Structure):
    """`sqlite3_io_methods`, version 3: what can be done to an open file."""

    _fields_ = [
        ("iVersion", c_int),
        *((name, c_void_p) for name in ("xClose", "xRead", "xWrite", "xTruncate", "xSync", "xFileSize", "xLock")),
        *((name, c_void_p) for name in ("xUnlock", "xCheckReservedLock", "xFileControl", "xSectorSize")),
        *((name, c_void_p) for name in ("xDeviceCharacteristics", "xShmMap", "xShmLock", "xShmBarrier")),
        *((name, c_void_p) for name in ("xShmUnmap", "xFetch", "xUnfetch")),
    ]


class Unavailable(Exception):
    """This interpreter's SQLite cannot be reached."""


class Listener(Protocol):
    """Who is told what SQLite does to the files of one folder. Names are those of files, without the folder."""

    def opened(self, name: str) -> int:
        """A file is open; returns the number by which it is spoken of from now on."""

    def removed(self, name: str) -> None: ...

    def written(self, file: int, at: int, data: bytes) -> None: ...

    def cut(self, file: int, size: int) -> None: ...

    def synced(self, file: int) -> None: ...

    def folder_synced(self) -> None: ...


#: By folder. What happens in other folders passes through.
listeners: dict[str, Listener] = {}


def library() -> ctypes.CDLL:
    """The SQLite that `sqlite3` itself uses: linked to the extension, or part of it. Raises Unavailable."""
    import _sqlite3

    found = ctypes.CDLL(getattr(_sqlite3, "__file__", None))
    try:
        find, version = found.sqlite3_vfs_find, found.sqlite3_libversion
    except AttributeError:
        raise Unavailable("this Python hides its SQLite's functions") from None
    find.restype, find.argtypes = POINTER(Vfs), [c_char_p]
    version.restype = c_char_p
    if version().decode() != sqlite3.sqlite_version:
        raise Unavailable("this Python's SQLite is not the one that was found")
    return found


class ListeningVfs:
    """The system's own file layer, under the name "listening", which tells `listeners` of every change."""

    def __init__(self) -> None:
        self._library = library()
        self._system: Vfs = self._library.sqlite3_vfs_find(None).contents
        if self._system.iVersion < 3 or not self._system.xSetSystemCall:
            raise Unavailable("this SQLite's file layer is another one than the usual")
        #: Which open file is whose, by the address of its `sqlite3_file`.
        self._files: dict[int, tuple[Listener, int]] = {}
        self._tables: dict[int, _Table] = {}
        #: Folders that were opened to be synced within the call that runs.
        self._folders: list[str] = []
        #: What went wrong in a callback; C has no way to raise it.
        self.errors: list[BaseException] = []
        self._kept: list[Any] = []
        self._vfs = self._registered()
        self._listen_to_folders()

    def _registered(self) -> Vfs:
        own = Vfs.from_buffer_copy(self._system)
        own.zName = b"listening"
        own.xOpen = self.callback(OPEN, self._open)
        own.xDelete = self.callback(DELETE, self._delete)
        self._open_original, self._delete_original = OPEN(self._system.xOpen), DELETE(self._system.xDelete)
        if self._library.sqlite3_vfs_register(ctypes.byref(own), 0) != OK:
            raise Unavailable("SQLite takes no further file layer")
        return own

    def _listen_to_folders(self) -> None:
        """SQLite syncs a folder by itself when it first syncs a new log or journal; it has to open it for that."""
        name, system = b"openDirectory", ctypes.addressof(self._system)
        original = OPEN_DIRECTORY(GET_SYSTEM_CALL(self._system.xGetSystemCall)(system, name))

        def open_directory(path: int, descriptor: int) -> int:
            self._folders.append(_split(path)[0])
            return int(original(path, descriptor))

        own = self.callback(OPEN_DIRECTORY, open_directory)
        if SET_SYSTEM_CALL(self._system.xSetSystemCall)(system, name, own) != OK:
            raise Unavailable("SQLite does not tell when it syncs a folder")

    def callback(self, form: Any, function: Callable[..., int]) -> int:
        """The address by which C calls `function`. It is good for ever."""

        def guarded(*arguments: Any) -> int:
            try:
                return function(*arguments)
            except BaseException as error:
                self.errors.append(error)
                return IOERR

        pointer = form(guarded)
        self._kept.append(pointer)
        return ctypes.cast(pointer, c_void_p).value or 0

    def _open(self, vfs: int, path: int | None, file: int, flags: int, flags_out: int) -> int:
        code = int(self._open_original(ctypes.addressof(self._system), path, file, flags, flags_out))
        if code == OK and path is not None:
            folder, name = _split(path)
            if (listener := listeners.get(folder)) is not None:
                self._files[file] = (listener, listener.opened(name))
                methods = c_void_p.from_address(file)
                methods.value = self._table(methods.value or 0).address
        return code

    def _table(self, address: int) -> _Table:
        if address not in self._tables:
            self._tables[address] = _Table(self, address)
        return self._tables[address]

    def _delete(self, vfs: int, path: int, sync_folder: int) -> int:
        folder, name = _split(path)
        listener = listeners.get(folder)
        if listener is not None and os.path.exists(os.path.join(folder, name)):
            listener.removed(name)
        code = int(self._delete_original(ctypes.addressof(self._system), path, sync_folder))
        self.tell_of_folders()
        return code

    def of(self, file: int) -> tuple[Listener, int]:
        """Whose file it is, and its number."""
        return self._files[file]

    def forget(self, file: int) -> None:
        del self._files[file]

    def tell_of_folders(self) -> None:
        """The call that opened folders is over, so they are synced."""
        while self._folders:
            if (listener := listeners.get(self._folders.pop(0))) is not None:
                listener.folder_synced()


def _split(path: int) -> tuple[str, str]:
    """Folder and name."""
    return os.path.split(os.fsdecode(ctypes.string_at(path)))


class _Table:
    """The methods of open files of one kind: the system's own, and four that tell what they do once it is done."""

    def __init__(self, vfs: ListeningVfs, address: int) -> None:
        self._vfs = vfs
        original = IoMethods.from_address(address)
        self._close_original, self._write_original = CLOSE(original.xClose), WRITE(original.xWrite)
        self._truncate_original, self._sync_original = TRUNCATE(original.xTruncate), SYNC(original.xSync)
        self._methods = IoMethods.from_buffer_copy(original)
        self._methods.xClose = vfs.callback(CLOSE, self._close)
        self._methods.xWrite = vfs.callback(WRITE, self._write)
        self._methods.xTruncate = vfs.callback(TRUNCATE, self._truncate)
        self._methods.xSync = vfs.callback(SYNC, self._sync)
        self.address = ctypes.addressof(self._methods)

    def _close(self, file: int) -> int:
        self._vfs.forget(file)
        return int(self._close_original(file))

    def _write(self, file: int, data: int, size: int, at: int) -> int:
        code = int(self._write_original(file, data, size, at))
        if code == OK:
            listener, number = self._vfs.of(file)
            listener.written(number, at, ctypes.string_at(data, size))
        return code

    def _truncate(self, file: int, size: int) -> int:
        code = int(self._truncate_original(file, size))
        if code == OK:
            listener, number = self._vfs.of(file)
            listener.cut(number, size)
        return code

    def _sync(self, file: int, flags: int) -> int:
        code = int(self._sync_original(file, flags))
        if code == OK:
            listener, number = self._vfs.of(file)
            listener.synced(number)
            self._vfs.tell_of_folders()
        return code
