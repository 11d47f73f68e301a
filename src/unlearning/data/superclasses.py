"""Data sets whose labels are super-classes of another's: CIFAR-20 is CIFAR-100 with its own twenty.

The images are packed as those of the finer data set, so that they are the same bytes; its labels
stay beside them as sub-classes. Sub-class removal forgets one of these within its super-class.
Imports neither torch nor NumPy: configs are checked with it.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from unlearning.data.catalogue import DatasetInfo, FormatError

if TYPE_CHECKING:
    from unlearning.data.readers import Content

CIFAR20 = {
    "aquatic_mammals": "beaver dolphin otter seal whale",
    "fish": "aquarium_fish flatfish ray shark trout",
    "flowers": "orchid poppy rose sunflower tulip",
    "food_containers": "bottle bowl can cup plate",
    "fruit_and_vegetables": "apple mushroom orange pear sweet_pepper",
    "household_electrical_devices": "clock keyboard lamp telephone television",
    "household_furniture": "bed chair couch table wardrobe",
    "insects": "bee beetle butterfly caterpillar cockroach",
    "large_carnivores": "bear leopard lion tiger wolf",
    "large_man-made_outdoor_things": "bridge castle house road skyscraper",
    "large_natural_outdoor_scenes": "cloud forest mountain plain sea",
    "large_omnivores_and_herbivores": "camel cattle chimpanzee elephant kangaroo",
    "medium_mammals": "fox porcupine possum raccoon skunk",
    "non-insect_invertebrates": "crab lobster snail spider worm",
    "people": "baby boy girl man woman",
    "reptiles": "crocodile dinosaur lizard snake turtle",
    "small_mammals": "hamster mouse rabbit shrew squirrel",
    "trees": "maple_tree oak_tree palm_tree pine_tree willow_tree",
    "vehicles_1": "bicycle bus motorcycle pickup_truck train",
    "vehicles_2": "lawn_mower rocket streetcar tank tractor",
}
SUPERCLASSES = {
    "cifar20": {fine: name for name, listed in CIFAR20.items() for fine in listed.split()}
}
"""The super-class of each sub-class, by data set."""


def subclasses(dataset: str) -> list[str]:
    """The sub-classes of a data set in the order of their numbers; none of one without."""
    return sorted(SUPERCLASSES.get(dataset, ()))


def finer(info: DatasetInfo) -> DatasetInfo:
    """The data set whose images `info` takes; `info` itself without super-classes."""
    if info.name not in SUPERCLASSES:
        return info
    images = tuple(pair for pair in info.contents if pair[0].endswith("_images"))
    return dataclasses.replace(info, classes=len(SUPERCLASSES[info.name]), contents=images)


def superclassed(info: DatasetInfo, content: Content) -> Content:
    """The content of `finer(info)` with super-classes for labels, sub-classes beside them.

    Raises FormatError for a class that has no super-class.
    """
    if info.name not in SUPERCLASSES:
        return content
    above = SUPERCLASSES[info.name]
    for name in content.class_names:
        if name not in above:
            raise FormatError(f"{info.name}: {name!r} is no sub-class of it")
    names, tensors = sorted(set(above.values())), dict(content.tensors)
    numbers = [names.index(above[fine]) for fine in content.class_names]
    for part in ("train", "test"):
        fine = tensors[f"{part}_subclasses"] = tensors[f"{part}_labels"]
        tensors[f"{part}_labels"] = fine.new_tensor(numbers)[fine]
    return dataclasses.replace(content, tensors=tensors, class_names=names)
