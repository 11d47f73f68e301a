"""The name that a reader sees for each method, data set, architecture, scenario and metric.

Files, configs and tables keep the short names (`fine_tuning`); figures show these.
"""

from __future__ import annotations

METHODS = {
    "original": "Original",
    "original_erm": "Original (ERM)",
    "oracle": "Oracle",
    "fine_tuning": "Fine-Tuning",
    "l1_sparse": "ℓ1-sparse",
    "negative_gradient": "Negative Gradient",
    "negative_gradient_plus": "NegGrad+",
    "random_labels": "Random Labels",
    "amnesiac": "Amnesiac",
    "boundary_shrink": "Boundary Shrink",
    "boundary_expanding": "Boundary Expanding",
    "bad_teacher": "Bad Teacher",
    "scrub": "SCRUB",
    "unsir": "UNSIR",
    "ssd": "SSD",
    "salun": "SalUn",
    "delete": "DELETE",
    "scar": "SCAR",
    "erm_ktp": "ERM-KTP",
    "duck": "DUCK",
    "duck_ablated": "DUCK (ablated)",
    "duck_released": "DUCK (released)",
}
UNLEARNING = [name for name in METHODS if name not in ("original", "original_erm", "oracle")]
DATASETS = {
    "fashion_mnist": "Fashion-MNIST",
    "fashion_mnist_mini": "Fashion-MNIST (mini)",
    "cifar10": "CIFAR-10",
    "cifar20": "CIFAR-20",
    "cifar100": "CIFAR-100",
    "tiny_imagenet": "Tiny ImageNet",
}
ARCHITECTURES = {
    "strided_cnn": "strided CNN",
    "allcnn": "All-CNN",
    "allcnn_small": "All-CNN (small)",
    "resnet18": "ResNet-18",
    "resnet18_3x3": "ResNet-18 (3×3)",
    "resnet18_small": "ResNet-18 (small)",
    "resnet34": "ResNet-34",
    "resnet34_3x3": "ResNet-34 (3×3)",
    "resnet34_small": "ResNet-34 (small)",
    "resnet50": "ResNet-50",
    "resnet50_3x3": "ResNet-50 (3×3)",
    "resnet50_small": "ResNet-50 (small)",
    "vit_b16": "ViT-B/16",
    "vit_small": "ViT (small)",
}
SCENARIOS = {
    "class_removal": "Class removal",
    "homogeneous_removal": "Homogeneous removal",
    "sample_removal": "Removal of listed images",
    "subclass_removal": "Sub-class removal",
}
METRICS = {
    "aus": "AUS",
    "retain_test_accuracy": "retained, test ($A_r^t$)",
    "forget_test_accuracy": "forgotten, test ($A_f^t$)",
    "test_accuracy": "test ($A^t$)",
    "forget_train_accuracy": "forgotten, training ($A_f$)",
    "lr": "learning rate",
    "lr_impair": "learning rate (impair)",
    "alpha": "selection threshold α",
}
NAMES = METHODS | DATASETS | ARCHITECTURES | SCENARIOS | METRICS


def shown(name: str) -> str:
    """The name to show for a short one; any other one as words, its first letter a capital.

    A variant that is called after its method is shown so: `duck_lr_0.0003` as `DUCK, lr 0.0003`.
    """
    if name in NAMES:
        return NAMES[name]
    of = max((m for m in UNLEARNING if name.startswith(f"{m}_")), key=len, default="")
    words = name.removeprefix(f"{of}_").replace("_", " ")
    return f"{METHODS[of]}, {words}" if of else words[:1].upper() + words[1:]


def system(dataset: str, arch: str) -> str:
    """`Fashion-MNIST, strided CNN`; architectures and data sets of no table as they are."""
    return f"{DATASETS.get(dataset, dataset)}, {ARCHITECTURES.get(arch, arch)}"
