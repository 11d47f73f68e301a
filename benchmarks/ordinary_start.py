"""A training script as people write it, up to its first step and through it."""

import matplotlib.pyplot  # noqa: F401
import pandas  # noqa: F401
import torch

from unlearning.runtime.vision import torchvision

torchvision()
model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
images, labels = torch.rand(128, 1, 28, 28), torch.arange(128) % 10
print("first step", flush=True)
optimizer.zero_grad()
torch.nn.functional.cross_entropy(model(images), labels).backward()
optimizer.step()
