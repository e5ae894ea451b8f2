"""The folder through which clients and the embedded service of one machine find each other.

It defines paths, locks, the token, the discovery file and the proof of identity, for both ends.
Nothing here uses a socket or starts a service.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from prefect_qiskit_runtime.errors import EmbeddedServiceError
from prefect_qiskit_runtime.models._service import Discovery

__all__ = [
    "EmbeddedHome",
    "boot_id",
    "host_name",
    "identity_proof",
    "network_file_system",
    "process_exists",
    "version_key",
]

# SQLite's write-ahead log needs memory shared between processes, and flock needs one kernel:
# https://sqlite.org/wal.html ("All processes using a database must be on the same host").
# FUSE names its file systems `fuse.<program>`; local ones (fuse.ntfs, fuseblk) are fine.
_NETWORK_FILE_SYSTEM = re.compile(
    r"nfs\d?|smb(fs|\d)|cifs|ncpfs|afpfs|afs|coda|9p|vboxsf|prl_fs|webdav|davfs|lustre|gpfs|beegfs"
    r"|ceph|glusterfs|gfs2?|ocfs2|orangefs|pvfs2|panfs|wekafs"
    r"|fuse\.(sshfs|gcsfuse|rclone|davfs|glusterfs|ceph.*|juicefs|smbnetfs|blobfuse\d?|.*s3.*)"
)


@dataclass(frozen=True)
class EmbeddedHome:
    """The folder of an embedded service (`Settings.embedded_dir`): its paths and their content."""

    root: Path

    @property
    def token_path(self) -> Path:
        """The token, readable only by its owner."""
        return self.root / "token"

    @property
    def discovery_path(self) -> Path:
        """The discovery file, with the service's identity and address."""
        return self.root / "service.json"

    @property
    def start_lock_path(self) -> Path:
        """Held while the service is starting, and while it decides whether to stop as idle."""
        return self.root / "start.lock"

    @property
    def service_lock_path(self) -> Path:
        """Held by the service process for its whole lifetime."""
        return self.root / "service.lock"

    @property
    def log_path(self) -> Path:
        """Standard output and error of the service process."""
        return self.root / "service.log"

    @property
    def database_path(self) -> Path:
        """The service's SQLite file."""
        return self.root / "runtime.db"

    @property
    def hardware_dir(self) -> Path:
        """Folder with the records of what programs have submitted to quantum devices."""
        return self.root / "hardware"

    @property
    def job_logs_dir(self) -> Path:
        """Folder of the jobs' logs."""
        return self.root / "logs"

    @property
    def scratch_dir(self) -> Path:
        """Folder of the running jobs' working folders."""
        return self.root / "scratch"

    def ensure(self) -> None:
        """Create the folder, accessible only to its owner.

        Raises:
            EmbeddedServiceError: The folder is on a network file system or cannot be written.
        """
        file_system = network_file_system(self.root)
        if file_system is not None:
            raise EmbeddedServiceError(
                f"Cannot keep the embedded service in {self.root}: it is on a network file system"
                f" ({file_system}), where its database and locks are not safe. Set"
                " PREFECT_QISKIT_RUNTIME_HOME to a folder on a local disk."
            )
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            self.root.chmod(0o700)
        except OSError as exc:
            raise EmbeddedServiceError(
                f"Cannot create the embedded service's folder {self.root}: {exc.strerror}."
                " Set PREFECT_QISKIT_RUNTIME_HOME to a folder that you can write to."
            ) from exc

    def read_token(self) -> str | None:
        """Return the token, or None if it does not exist yet.

        Raises:
            EmbeddedServiceError: The token cannot be read, or is not text.
        """
        content = _read_if_there(self.token_path)
        try:
            return content.decode("ascii").strip() or None if content else None
        except UnicodeDecodeError as exc:
            raise EmbeddedServiceError(
                f"{self.token_path} is damaged. Delete it: the service creates a new one at its"
                " next start."
            ) from exc

    def read_or_create_token(self) -> str:
        """Return this home's token; the first caller creates it, and all get the same one."""
        token = self.read_token()
        if token is not None:
            return token
        # Written under another name, then linked: a reader never sees half a token, and if
        # several processes create one at once, exactly one wins.
        token = secrets.token_urlsafe(32)
        draft = _write_private(self.token_path, token)
        try:
            os.link(draft, self.token_path)
        except FileExistsError:
            # The file is never written empty: an empty one is damaged and is replaced.
            return self.read_token() or draft.replace(self.token_path).read_text(encoding="ascii")
        finally:
            draft.unlink(missing_ok=True)
        return token

    def read_discovery(self) -> Discovery | None:
        """Return the content of the discovery file, or None if it is missing or damaged.

        Raises:
            EmbeddedServiceError: The file cannot be read.
        """
        content = _read_if_there(self.discovery_path)
        try:
            return Discovery.model_validate_json(content) if content else None
        except ValueError:
            return None

    def write_discovery(self, discovery: Discovery) -> None:
        """Write the discovery file atomically."""
        draft = _write_private(self.discovery_path, discovery.model_dump_json())
        draft.replace(self.discovery_path)

    def remove_discovery(self) -> None:
        """Remove the discovery file if it exists."""
        self.discovery_path.unlink(missing_ok=True)

    @contextmanager
    def try_lock(self, path: Path, *, wait_seconds: float = 0.0) -> Iterator[bool]:
        """Lock one of the lock files; yield whether that succeeded.

        The kernel releases the lock when its process ends, in whatever way.

        Args:
            path: The lock file.
            wait_seconds: How long to keep trying. The service tries for a while, because
                `service_lives` holds the lock for a moment.
        """
        import fcntl

        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + wait_seconds
        try:
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    if time.monotonic() >= deadline:
                        yield False
                        return
                    time.sleep(0.02)
                else:
                    yield True
                    return
        finally:
            os.close(descriptor)

    def service_lives(self) -> bool:
        """Return whether a service process holds this home."""
        import fcntl

        try:
            descriptor = os.open(self.service_lock_path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            # A shared lock, so that two simultaneous checks do not detect each other.
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False


def identity_proof(token: str, nonce: str) -> str:
    """Return the proof of knowing the token: hex HMAC-SHA256 of the nonce, keyed with it."""
    return hmac.new(token.encode(), nonce.encode(), hashlib.sha256).hexdigest()


def host_name() -> str:
    """Return the name of this machine, or of the container."""
    return socket.gethostname()


@cache
def boot_id() -> str:
    """Return the kernel's id of this boot; process ids from another boot are meaningless."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        answer = subprocess.run(
            ["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"],
            capture_output=True,
            text=True,
            check=False,
        )
        return answer.stdout.strip()


def process_exists(pid: int) -> bool:
    """Return whether this machine has a process with this id, which may have been reused."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def version_key(version: str) -> tuple[int, ...]:
    """Return the release numbers of a version, for comparing versions."""
    release = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(number) for number in release[0].split(".")) if release else ()


def network_file_system(path: Path) -> str | None:
    """Return the name of the network file system that holds a path; None if it is local."""
    name = _file_system(path)
    return name if _NETWORK_FILE_SYSTEM.fullmatch(name) else None


def _file_system(path: Path) -> str:
    """Return the file system type of a path, which need not exist; "" if unknown."""
    longest, found = -1, ""
    for mount_point, name in _mounts():
        if path.is_relative_to(mount_point) and len(mount_point.parts) >= longest:
            longest, found = len(mount_point.parts), name  # later mounts hide earlier ones
    return found


def _mounts() -> Iterator[tuple[Path, str]]:
    if sys.platform == "darwin":
        # "//user@host/share on /Volumes/share (smbfs, nodev, nosuid)"
        listing = subprocess.run(["/sbin/mount"], capture_output=True, text=True, check=False)
        for line in listing.stdout.splitlines():
            if parts := re.fullmatch(r".* on (/.*) \(([^,)]+).*\)", line):
                yield Path(parts[1]), parts[2]
        return
    try:
        table = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return
    for line in table.splitlines():
        # man 5 proc_pid_mountinfo: the type follows a single hyphen; spaces are octal escapes.
        fields, _, rest = line.partition(" - ")
        mount_point = re.sub(r"\\(\d{3})", lambda m: chr(int(m[1], 8)), fields.split(" ")[4])
        yield Path(mount_point), rest.split(" ")[0]


def _read_if_there(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as exc:
        raise EmbeddedServiceError(
            f"Cannot read {path}: {exc.strerror}. Set PREFECT_QISKIT_RUNTIME_HOME to a folder that"
            " you own."
        ) from exc


def _write_private(target: Path, text: str) -> Path:
    """Write text to a new 0600 file next to the target, flushed to disk; return its path."""
    descriptor, draft = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    return Path(draft)
