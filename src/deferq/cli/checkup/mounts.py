"""Which file system a path lies on, as the kernel tells it."""

from __future__ import annotations

from pathlib import Path

#: On these, locks and shared memory between machines do not work as SQLite needs them.
NETWORK = frozenset(
    (
        *("nfs", "nfs4", "cifs", "smb", "smb2", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "gpfs"),
        *("beegfs", "ocfs2", "gfs2", "davfs", "vboxsf", "fuse.sshfs", "fuse.s3fs", "fuse.gcsfuse", "fuse.glusterfs"),
        *("fuse.ceph-fuse", "fuse.rclone", "fuse.davfs2", "fuse.vmhgfs-fuse", "fuse.juicefs", "fuse.goofys"),
    )
)
#: What lies here goes with something else.
PASSING = {
    "tmpfs": "the machine's next start",
    "ramfs": "the machine's next start",
    "overlay": "the container",
    "aufs": "the container",
}
MOUNTS = Path("/proc/self/mountinfo")


def file_system(path: Path, mounts: str) -> str | None:
    """The kind of file system that `path` lies on, from the text of `mountinfo`; None: it does not say."""
    best: tuple[int, str] | None = None
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        fields, kinds = before.split(), after.split()
        if len(fields) < 5 or not kinds:
            continue
        at = Path(_unescaped(fields[4]))
        if path == at or at in path.parents:
            depth = len(at.parts)
            if best is None or depth >= best[0]:  # of two at the same place the later one lies on top
                best = (depth, kinds[0])
    return best[1] if best else None


def _unescaped(text: str) -> str:
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, char)
    return text


def read_mounts() -> str:
    """What the kernel says; empty where it says nothing."""
    try:
        return MOUNTS.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
