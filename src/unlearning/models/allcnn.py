"""AllCNN (Springenberg et al., 2015): convolutions alone, with strides in the place of pooling."""

from __future__ import annotations

from torch import nn

from unlearning.models.base import Classifier, Weights

WIDTHS = {"allcnn": 96, "allcnn_small": 8}
LAYERS = (  # output channels in widths, kernel, stride: as in the DUCK release
    (1, 3, 1),
    (1, 3, 1),
    (2, 3, 2),
    (2, 3, 1),
    (2, 3, 1),
    (2, 3, 2),
    (2, 3, 1),
    (2, 1, 1),
)


def _block(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def build(
    arch: str, classes: int, channels: int, pretrained: Weights, head_dropout: float
) -> Classifier:
    """`allcnn`: eight convolutions of 96 and 192 channels. `allcnn_small`: of 8 and 16.

    The embedding is the last feature map averaged over space, whatever the image's size:
    D = 192 and 16. The head is one linear layer, as on the release's branch `plus`. That of
    its main branch has two with a ReLU between, which would be no linear Γ, and flattens what
    8 x 8 pooling leaves, 768 values for an image of 64 px.
    The middle block is the sixth convolution with its BatchNorm and ReLU.
    There are no pretrained weights: ValueError.
    """
    if pretrained is not None:
        raise ValueError(f"{arch} has no pretrained weights; set pretrained: false")
    width = WIDTHS[arch]
    outputs = [times * width for times, _, _ in LAYERS]
    shapes = zip([channels, *outputs], outputs, LAYERS, strict=False)
    blocks = [_block(i, o, kernel, stride) for i, o, (_, kernel, stride) in shapes]
    backbone = nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return Classifier(backbone, nn.Linear(2 * width, classes), head_dropout, middle="5")
