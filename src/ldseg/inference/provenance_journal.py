"""Keeps `prediction.json`, with a journal beside it while a command is at work.

Writing the whole file for each case would take a time that grows with the number of cases. A command appends
one line per case to `prediction.jsonl` instead, and merges the lines into prediction.json at its end:

    {"case": NAME, "record": {...} or null, "failed": "what was wrong with it" or null}

A line replaces what was known of the case, so reading lines that are merged already changes nothing. A killed
command leaves the journal; every reader here reads both files, and the next command merges them.

Several processes may write into one folder. Each takes the folder's lock while it reads the lines of the
others and appends its own. A case is recorded just before its files are written, so that a killed command
leaves no file without a record. Files of an earlier prediction of the case are removed at that moment; they
stay where image, model and settings are the same.
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from ldseg.data.unread import voxel_files
from ldseg.errors import file_error
from ldseg.inference.provenance import CaseRecord, Records
from ldseg.runs.folder_lock import lock_folder
from ldseg.utils.serialization import from_json, read_versioned, refused, to_json, write_bytes_atomic

FILE = "prediction.json"
JOURNAL = "prediction.jsonl"
VERSION = 3
_PATIENCE = 60.0
"""Seconds to wait for other processes; each needs the files for milliseconds."""
_REMEDY = "remove it and the predictions beside it, or choose another -o"


@dataclass(frozen=True)
class _Line:
    """A line of the journal: the new record of a case."""

    case: str
    record: CaseRecord | None
    failed: str | None


class ProvenanceJournal:
    """The records of an output folder, for a command that adds case after case."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._records = Records()
        self._read_bytes = 0
        """How much of the journal `_records` has."""
        self._stamp: tuple[int, ...] | None = ()
        """The version of prediction.json that was read; another process may merge the journal at any time."""

    def begin_case(self, name: str, record: CaseRecord) -> tuple[str, ...]:
        """Record a case whose files are about to be written, and remove those of an earlier prediction that
        would lie beside them. Return the names of the files that were removed.

        Raises:
            InputError: the folder's records are damaged or cannot be written.
        """
        with self._locked():
            earlier = self._records.cases.get(name)
            stale: tuple[str, ...] = ()
            if earlier is not None and record.same_origin(earlier):
                record = replace(record, files=tuple(dict.fromkeys((*record.files, *earlier.files))))
            elif earlier is not None:
                stale = tuple(file for file in earlier.files if file not in record.files)
            removed = _remove(self._folder, stale)
            self._append(_Line(name, record, None))
        return removed

    def fail_case(self, name: str, problem: str, begun: Sequence[str]) -> bool:
        """Record that a case could not be predicted, and remove the files `begun`. Return whether files of an
        earlier prediction remain. Raises InputError as `begin_case`."""
        with self._locked():
            _remove(self._folder, begun)
            record = self._records.cases.get(name)
            if record is not None:
                kept = tuple(file for file in record.files if (self._folder / file).exists())
                record = replace(record, files=kept) if kept else None
            self._append(_Line(name, record, problem))
        return record is not None

    def merge(
        self, skipped: Sequence[str] | None = None, parts: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        """Write prediction.json with all records, and remove the journal. `skipped`, if given, is what
        the command found among its inputs and does not predict; `parts` are the parts of a split that it was
        asked for, with their cases. Raises InputError as `begin_case`."""
        with self._locked():
            merged, journal = self._folder / FILE, self._folder / JOURNAL
            before = self._records
            told = before.skipped if skipped is None else tuple(skipped)
            asked = before.parts | {part: tuple(names) for part, names in (parts or {}).items()}
            self._records = replace(before, skipped=told, parts=asked)
            if merged.exists() and not journal.exists() and self._records == before:
                return
            _write(merged, self._records)
            journal.unlink(missing_ok=True)
            self._stamp, self._read_bytes = _stamp(merged), 0

    @contextmanager
    def _locked(self) -> Generator[None]:
        """Hold the lock of the folder, with all records read."""
        with lock_folder(self._folder, "prediction", _PATIENCE):
            merged, journal = self._folder / FILE, self._folder / JOURNAL
            stamp, size = _stamp(merged), journal.stat().st_size if journal.exists() else 0
            if stamp != self._stamp or size < self._read_bytes:
                self._records, self._read_bytes, self._stamp = _read_merged(merged), 0, stamp
            if size > self._read_bytes:
                self._read_bytes += _replay(journal, self._read_bytes, self._records)
            yield

    def _append(self, line: _Line) -> None:
        """Add a line to the records and to the journal, in place of what a killed process left of one."""
        path = self._folder / JOURNAL
        text = json.dumps(to_json(line)).encode() + b"\n"
        try:
            with path.open("r+b" if path.exists() else "w+b") as file:
                file.truncate(self._read_bytes)
                file.seek(self._read_bytes)
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise refused(path, error) from error
        self._read_bytes += len(text)
        _apply(line, self._records)


def read_records(folder: Path) -> Records:
    """Return the records of a folder of predictions, none where there is no file or an older ldseg wrote it.

    Raises:
        InputError: a file is damaged, or a newer ldseg wrote it.
    """
    merged = folder / FILE
    while True:
        stamp = _stamp(merged)
        records = _read_merged(merged)
        with suppress(FileNotFoundError):
            _replay(folder / JOURNAL, 0, records)
        if _stamp(merged) == stamp:  # else another process has merged the journal meanwhile
            return records


def merge_journal(folder: Path, skipped: Sequence[str] | None = None) -> None:
    """Write prediction.json with what a journal says, see `ProvenanceJournal.merge`."""
    ProvenanceJournal(folder).merge(skipped)


def _read_merged(path: Path) -> Records:
    """Return the content of prediction.json."""
    if not path.exists():
        return Records()
    content = read_versioned(path, VERSION, _REMEDY, oldest=VERSION)
    known = {name: content[name] for name in ("cases", "failed", "skipped", "parts") if name in content}
    return from_json(Records, known, str(path))


def _replay(path: Path, offset: int, records: Records) -> int:
    """Change `records` as the whole lines of the journal from byte `offset` on say. Return the bytes of these
    lines; a line without an end is of a process that was killed while it wrote."""
    with path.open("rb") as file:
        file.seek(offset)
        lines, end, _ = file.read().rpartition(b"\n")
    for line in lines.splitlines():
        try:
            content = json.loads(line)
        except ValueError as error:
            raise file_error(path, f"cannot be read as lines of JSON ({error})", _REMEDY) from error
        _apply(from_json(_Line, content, str(path)), records)
    return len(lines) + len(end)


def _apply(line: _Line, records: Records) -> None:
    """Replace what `records` says of the line's case, in place."""
    if line.record is None:
        records.cases.pop(line.case, None)
    else:
        records.cases[line.case] = line.record
    if line.failed is None:
        records.failed.pop(line.case, None)
    else:
        records.failed[line.case] = line.failed


def _stamp(path: Path) -> tuple[int, ...] | None:
    """Return what differs between two versions of a file that are renamed into place, None without a file."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


def _remove(folder: Path, names: Sequence[str]) -> tuple[str, ...]:
    """Remove and return those files that are there; a damaged record leads to no file elsewhere."""
    headers = [folder / name for name in names if Path(name).name == name]
    here = [path for header in headers for path in (header, *voxel_files(header)) if path.is_file()]
    for path in here:
        path.unlink()
    return tuple(path.name for path in here)


def _write(path: Path, records: Records) -> None:
    """Write one line per case, which is ten times faster than indented JSON."""
    parts = {"cases": _lines(to_json(records.cases)), "failed": _lines(records.failed)}
    body = [f' "{part}": {{{lines}}}' for part, lines in parts.items()]
    body += [f' "skipped": {json.dumps(records.skipped)}', f' "parts": {json.dumps(records.parts)}']
    text = "{\n" + ",\n".join([f' "version": {VERSION}', *body]) + "\n}\n"
    write_bytes_atomic(path, text.encode())


def _lines(entries: Mapping[str, object]) -> str:
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(entry)}" for name, entry in entries.items())
    return f"\n{lines}\n " if lines else ""
