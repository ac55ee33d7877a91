"""The parent's end of the socket to a child. It never waits: what the child does not take now is sent later."""

from __future__ import annotations

from typing import Any

from deferq.runtime.children.system import Connection
from deferq.runtime.children.wire import Frame, Reader, pack

_BYTES = 256 * 1024


class Channel:
    """Frames to and from one child."""

    def __init__(self, end: Connection) -> None:
        end.setblocking(False)
        self._socket = end
        self._reader = Reader()
        self._outgoing = bytearray()
        #: The child has closed its end, or is gone.
        self.closed = False
        #: What came through it is not from the child's runtime: a task wrote into the socket.
        self.garbled = False
        #: There may be something to receive; whoever polls says so.
        self.readable = True

    def fileno(self) -> int:
        """To be polled."""
        return self._socket.fileno()

    @property
    def clogged(self) -> bool:
        """Whether there is something left to send once the child takes it."""
        return bool(self._outgoing)

    def send(self, kind: str, content: Any) -> None:
        """Send a frame, now or as soon as the child has read what stands before it."""
        frame = pack(kind, content)
        if self._outgoing:
            self._outgoing += frame
        else:
            sent = self._send(frame)
            if sent < len(frame):
                self._outgoing += memoryview(frame)[sent:]

    def flush(self) -> None:
        """Send what was left."""
        if self._outgoing:
            del self._outgoing[: self._send(self._outgoing)]

    def receive(self) -> list[Frame]:
        """What the child has said since the last call."""
        frames: list[Frame] = []
        if not self.readable:
            return frames
        self.readable = False
        try:
            while data := self._socket.recv(_BYTES):
                frames.extend(self._reader.feed(data))  # what came before the rubbish is kept
                if len(data) < _BYTES:
                    return frames
            self.closed = True
        except BlockingIOError:
            pass
        except OSError:
            self.closed = True
        except (ValueError, EOFError, TypeError):  # the rest cannot be understood either
            self.closed = self.garbled = True
        return frames

    def close(self) -> None:
        """Let the child see the end."""
        self._socket.close()

    def _send(self, data: bytes | bytearray) -> int:
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0
        except OSError:  # its death is noticed where it is reaped
            return len(data)
