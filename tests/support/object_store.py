"""An object store that speaks S3, in a process of its own."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from types import TracebackType
from typing import Any

import boto3

from support.waiting import wait_until

SECRET = "s3cr3t-of-the-store"
REGION = "us-east-1"
START_SECS = 120.0


class ObjectStore:
    """Moto's server on a port of its own, which it has only once ``start`` is called.

    A context manager, which ends it.
    """

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def environ(self) -> dict[str, str]:
        """What the store's own tools read."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "user",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_MAX_ATTEMPTS": "1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def start(self, bucket: str) -> None:
        """Begins to serve, with an empty bucket that keeps every version of an object."""
        with tempfile.TemporaryFile() as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self._port)],
                stdout=log,
                stderr=log,
            )
        wait_until(self._answers, "the store serves", START_SECS)
        self.client().create_bucket(Bucket=bucket)
        self.client().put_bucket_versioning(
            Bucket=bucket, VersioningConfiguration={"Status": "Enabled"}
        )

    def client(self) -> Any:
        """Amazon's own client of the store."""
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id="user",
            aws_secret_access_key=SECRET,
        )

    def contents(self, bucket: str) -> dict[str, list[bytes]]:
        """All that was ever put to each object."""
        client = self.client()
        listed = client.list_object_versions(Bucket=bucket)
        assert not listed["IsTruncated"]
        found: dict[str, list[bytes]] = {}
        for version in listed.get("Versions", []):
            key = version["Key"]
            read = client.get_object(Bucket=bucket, Key=key, VersionId=version["VersionId"])
            found.setdefault(key, []).append(read["Body"].read())
        return found

    def stop(self) -> None:
        """Holds it still: who asks it is not answered."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Lets it go on, also with what it was asked meanwhile."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "the store has ended"
        try:
            with urllib.request.urlopen(f"{self.url}/moto-api/", timeout=10.0):
                return True
        except OSError:
            return False

    def __enter__(self) -> ObjectStore:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
