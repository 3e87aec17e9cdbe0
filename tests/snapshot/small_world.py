"""The parts of a small world: two tastes, a like, and a bucket of files."""

from pathlib import Path

from core.errors import Conflict, NotFound, StoreUnavailable
from core.interaction import Interaction, InteractionType

NOW = 1_790_000_000.0
DAY_S = 86_400.0

SPACE = ("alien-1979", "aliens-1986", "solaris-1972", "gravity-2013", "moon-2009")
LOVE = ("before-sunrise-1995", "before-sunset-2004", "brief-encounter-1945", "amelie-2001", "past-lives-2023")


class FolderBucket:
    """Objects as files; `broken` makes every call fail as a lost bucket does."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.generations: dict[str, int] = {}
        self.broken = False
        self.downloads = 0

    def _path(self, name: str) -> Path:
        if self.broken:
            raise StoreUnavailable("bucket", "unplugged")
        return self.root / name

    def upload(self, name: str, path: Path) -> None:
        self.write(name, path.read_bytes())

    def download(self, name: str, path: Path) -> None:
        self.downloads += 1
        path.write_bytes(self.read(name)[0])

    def write(self, name: str, data: bytes, if_generation: int | None = None) -> int:
        path = self._path(name)
        generation = self.generations.get(name, 0)
        if if_generation is not None and if_generation != generation:
            raise Conflict(f"{name} has generation {generation}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        self.generations[name] = generation + 1
        return generation + 1

    def read(self, name: str) -> tuple[bytes, int]:
        path = self._path(name)
        if not path.is_file():
            raise NotFound(f"no object {name}")
        return path.read_bytes(), self.generations[name]

    def list(self, prefix: str) -> list[str]:
        names = (str(path.relative_to(self._path(""))) for path in self._path("").rglob("*") if path.is_file())
        return sorted(name for name in names if name.startswith(prefix))

    def delete(self, name: str) -> None:
        self._path(name).unlink(missing_ok=True)


def like(user: str, content_id: str, at: float, device: str | None = None) -> Interaction:
    return Interaction(f"{user}-{content_id}", user, content_id, InteractionType.LIKE, at, device=device)
