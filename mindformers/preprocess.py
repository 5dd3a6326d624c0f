"""Write the rows of a configuration's training data once, so that later runs read them without reading text."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Union

from mindformers import build
from mindformers.config.check import Checked
from mindformers.data.records import ENDING, write_records


@dataclass(frozen=True)
class Written:
    """What was written."""

    file: Path
    rows: int
    columns: str

    def __str__(self) -> str:
        return (
            f"{self.file}: {self.rows} rows of {self.columns}. Train from them with "
            f"--train_dataset.data_loader.type=MindDataset --train_dataset_dir {self.file.parent}"
        )


def preprocess(checked: Checked, folder: Union[str, Path]) -> Written:
    """Write train.mindrecord, its index and the names of labels into `folder`.

    The rows are those of the first epoch before anything that differs between epochs is drawn. Raises OutputError when
    the file exists and the configuration does not say `overwrite`, and what reading the data raises.
    """
    config = checked.run
    _, task = build.tokenizer_and_task(config)
    features = task.train_features(build.data_loader(config.train_dataset, "train_dataset", "train"))
    columns = task.written(features)
    file = write_records(Path(folder) / f"train{ENDING}", columns, config.trainer.type, config.overwrite)
    if task.names_outputs:
        task.save_labels(file.parent)
    return Written(file, len(features), ", ".join(columns))
