"""Data sets of one's own that a config describes: a folder of images (data.own_images)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from unlearning.data.catalogue import DatasetInfo, OwnImages
from unlearning.recipe import Number, Strict

DatasetName = Annotated[str, Field(pattern="^[a-z0-9_]+$", max_length=60)]


class OwnDataset(Strict):
    """The lines that `python -m unlearning describe FOLDER` prints.

    size: pixels a side of all images. resize: `crop`, the largest square in the middle, or
    `stretch`. mean, std: of each channel in 0..1; None: measured on the training images. checksum:
    of the names and bytes of all images. test_share: without train/ and test/, the share of each
    class that becomes the test part, drawn by `seed`.
    """

    classes: int = Field(gt=1)
    train: int = Field(gt=0)
    test: int = Field(gt=0)
    channels: Literal[1, 3]
    size: int = Field(ge=8, le=1024)
    resize: Literal["crop", "stretch"]
    mean: list[Annotated[Number, Field(ge=0, le=1)]] | None = None
    std: list[Annotated[Number, Field(gt=0, lt=1)]] | None = None
    checksum: str = Field(pattern="^sha256:[0-9a-f]{64}$")
    test_share: Number | None = Field(None, gt=0, lt=1)
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _channels(self) -> OwnDataset:
        if (self.mean is None) != (self.std is None):
            raise ValueError("mean and std: give both, or neither and they are measured")
        for key in ("mean", "std"):
            if (values := getattr(self, key)) is not None and len(values) != self.channels:
                raise ValueError(f"{key}: a number a channel: {self.channels}, got {len(values)}")
        return self

    def info(self, name: str) -> DatasetInfo:
        """The data set as the catalogue would describe it."""
        return DatasetInfo(
            name=name,
            version="own images",
            licence="not stated",
            reader="own",
            classes=self.classes,
            train=self.train,
            test=self.test,
            channels=self.channels,
            size=self.size,
            mean=self.mean and tuple(self.mean),
            std=self.std and tuple(self.std),
            files=(),
            own=OwnImages(self.resize, self.checksum, self.test_share, self.seed),
        )
