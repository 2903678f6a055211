"""vaegan cache: what is kept to save time, and how to be rid of it."""

import time
from dataclasses import dataclass
from typing import Any

from vaegan.caching import KINDS, LIMIT, cache_limit, default_cache_dir, entries, remove
from vaegan.commands.shared import JsonOption

MINUTE, HOUR, DAY = 60, 3600, 86400


@dataclass(frozen=True, kw_only=True)
class CacheOptions(JsonOption):
    """See what is kept to save time: prepared images, features and latents of them. All of it is made again when needed."""

    clear: bool = False
    """Remove all of it, except what a running command uses."""


def cache(options: CacheOptions) -> None:
    """Shows what is kept, the last used first; or removes it."""
    root, limit = default_cache_dir(), cache_limit()
    found = entries(root)[::-1]
    if options.clear:
        gone = [entry for entry in found if remove(entry.path)]
        freed, kept = (sum(entry.size for entry in some) for some in (gone, [one for one in found if one not in gone]))
        still = f"; {_megabytes(kept)} are in use, or could not be removed" if len(gone) < len(found) else ""
        options.answer({"cache": str(root), "freed": freed, "kept": kept}, f"{root}: {_megabytes(freed)} removed{still}.")
        return
    total = sum(entry.size for entry in found)
    lines = [f"{root}: {_megabytes(total)} of at most {limit / 1e9:g} GB ({LIMIT}); what was not used for longest goes first."]
    images = [entry for entry in found if entry.kind == "images"]
    lines += [f"  {_megabytes(entry.size):>10}  {entry.about}, used {_ago(entry.used)}" for entry in images]
    for kind, words in KINDS.items():
        if kind != "images" and (some := [entry for entry in found if entry.kind == kind]):
            size = _megabytes(sum(entry.size for entry in some))
            lines.append(f"  {size:>10}  {words} ({len(some):,}), used {_ago(max(entry.used for entry in some))}")
    facts: dict[str, Any] = {"cache": str(root), "bytes": total, "limit": limit}
    kept = [{"path": str(one.path), "kind": one.kind, "about": one.about, "bytes": one.size, "used": one.used} for one in found]
    options.answer(facts | {"entries": kept}, lines)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


def _ago(when: float) -> str:
    seconds = time.time() - when
    for unit, name in ((DAY, "day"), (HOUR, "hour"), (MINUTE, "minute")):
        if (count := int(seconds // unit)) >= 1:
            return f"{count:,} {name}{'s' if count > 1 else ''} ago"
    return "just now"
