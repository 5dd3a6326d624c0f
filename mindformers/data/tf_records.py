"""TFRecord files of numbers, as Google's BERT scripts write them, read by MindSpore's own reader."""

from __future__ import annotations

from pathlib import Path
from typing import Dict, List, Sequence

import numpy as np

from mindformers.data.records import RecordFiles
from mindformers.errors import DataError

ENDINGS = (".tfrecord", ".tf_record", ".tfrecords")
GUARDED = 12
"""Bytes before a record: its length (8) and a checksum of that (4)."""


class TFRecordDataset(RecordFiles):
    """TFRecord files."""

    ending = ENDINGS[0]

    def files_of(self, folder: Path) -> List[Path]:
        """Return the files with a usual ending, or all files of a folder that holds none."""
        files = sorted(file for file in folder.glob("*") if file.is_file())
        return [file for file in files if file.suffix in ENDINGS] or files

    def missing(self) -> str:
        """Return the message for a folder without files."""
        return f"no TFRecord files at '{self.dataset_dir}'; give a file or a folder of them (*{', *'.join(ENDINGS)})"

    def read(self, files: Sequence[Path]) -> Dict[str, np.ndarray]:
        """Return the columns of files; whole numbers become int32. Raises DataError."""
        rows = [row for file in files for row in self._rows(file)]  # MindSpore would mix the rows of several files
        found: Dict[str, np.ndarray] = {}
        for name in rows[0] if rows else ():
            widths = {row[name].size for row in rows}
            if len(widths) > 1:
                raise DataError(
                    f"{files[0]}: rows of '{name}' have {min(widths)} to {max(widths)} numbers; every row must have "
                    "equally many"
                )
            column = np.stack([row[name].ravel() for row in rows])
            found[name] = column.astype(np.float32 if column.dtype.kind == "f" else np.int32)
        if not found:
            raise DataError(f"{', '.join(map(str, files))}: no row")
        return found

    def _rows(self, file: Path) -> List[Dict[str, np.ndarray]]:
        """Return the rows of one file. Raises DataError."""
        from mindspore.dataset import TFRecordDataset as Reader

        if not file.is_file():
            raise DataError(f"{file}: no such file; a TFRecord file is needed")
        if file.stat().st_size <= GUARDED:
            raise DataError(f"{file}: holds no record; it is empty or cut off")
        try:
            reader = Reader([str(file)], columns_list=self.columns_list, shuffle=False)
            return list(reader.create_dict_iterator(num_epochs=1, output_numpy=True))
        except (RuntimeError, ValueError) as error:
            brief = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise DataError(f"{file}: not readable as TFRecord ({brief})") from error
