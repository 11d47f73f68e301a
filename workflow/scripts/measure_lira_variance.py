"""Measure which variance of LiRA's Gaussians errs less with few shadow models.

    python workflow/scripts/measure_lira_variance.py

Images whose confidences are Gaussian, in and out of the training set, with known means and
standard deviations: of 800, half trained on by the target. The truth is the AUC of the exact
likelihood ratio, which LiRA reaches with many shadow models; from pools of S shadow models (pairs
on complementary random halves) `per_example` and `global` each give another. The table
(paper/reference/lira_variance.csv) has the bias and root mean square of that error over draws, by
`spread`, the standard deviation over images of the logarithm of an image's own deviation, on which
the answer depends. What spread real images have is measured as well: of 64 small networks on random
halves of the embedded ones, free of what 32 models a side miss. `blocks.variance_for` follows the
table and docs/metrics.md quotes it. About half a minute.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tabulate import tabulate

from unlearning.data.batches import load_dataset
from unlearning.data.catalogue import catalogue
from unlearning.data.sources import fetch
from unlearning.files import write_text
from unlearning.metrics.membership import VARIANCES, lira, logit_confidence, roc_auc

PROJECT = Path(__file__).parents[2]
TABLE = PROJECT / "paper/reference/lira_variance.csv"
METRICS = PROJECT / "docs/metrics.md"
MARK, END = "<!-- lira:variance -->\n", "<!-- end -->"
SPREADS = (0.0, 0.3, 0.6, 0.9)
SIZES = (4, 8, 16, 32, 64, 128)
IMAGES, DRAWS = 800, 20
NETWORKS, EPOCHS, HIDDEN, COMPONENTS = 64, 20, 64, 64


def halves(count: int, models: int, draw: np.random.Generator) -> np.ndarray:
    """What each model has seen, bool [models, count]: pairs of complementary random halves."""
    seen = draw.permuted(np.tile(np.arange(count) < count // 2, (models // 2, 1)), axis=1)
    return np.stack([seen, ~seen], axis=1).reshape(models, count)


def errors(spread: float, draw: np.random.Generator) -> list[dict]:
    """The error of each variance and size of pool in one draw of images and target."""
    low = draw.normal(0, 2, IMAGES)
    gain = np.abs(draw.normal(1, 0.7, IMAGES))
    outside = np.exp(draw.normal(0, spread, IMAGES))
    inside = outside * np.exp(draw.normal(0, 0.2, IMAGES))

    def confidences(seen: np.ndarray) -> np.ndarray:
        noise = draw.normal(size=seen.shape)
        return np.where(seen, low + gain + inside * noise, low + outside * noise)

    def auc(scores: np.ndarray) -> float:
        return roc_auc(scores[members], scores[~members])

    members = np.arange(IMAGES) < IMAGES // 2
    target = confidences(members)
    ratio = np.square((target - low) / outside) - np.square((target - low - gain) / inside)
    truth = auc(ratio / 2 + np.log(outside / inside))
    rows = []
    for size in SIZES:
        seen = halves(IMAGES, size, draw)
        shadows = confidences(seen)
        for variance in VARIANCES:
            found = auc(lira(target, shadows, seen, variance))
            rows.append({"shadows": size, "variance": variance, "truth": truth})
            rows[-1]["error"] = found - truth
    return rows


def measured() -> pd.DataFrame:
    """Mean truth, bias and root mean square error: a row a spread, size and variance."""
    rows = []
    for spread in SPREADS:
        for number in range(DRAWS):
            found = errors(spread, np.random.default_rng([number, int(100 * spread)]))
            rows += [{"spread": spread} | row for row in found]
    grouped = pd.DataFrame(rows).groupby(["spread", "shadows", "variance"], sort=False)
    return grouped.agg(
        truth=("truth", "mean"),
        bias=("error", "mean"),
        rms=("error", lambda values: float(np.sqrt(np.square(values).mean()))),
        n=("error", "size"),
    ).reset_index()


def spread_of(confidence: np.ndarray, seen: np.ndarray) -> float:
    """The standard deviation over images of log σ, of the sides' mean, free of sampling error.

    confidence: φ [S, N]; seen: bool [S, N]. The variance of log s of n Gaussian values is about
    1 / 2(n - 1), which is taken off.
    """
    found = []
    for side in (seen, ~seen):
        own = np.log(confidence.std(0, ddof=1, where=side))
        found.append(max(own.var(ddof=1) - 0.5 / (side.sum(0).mean() - 1), 0.0))
    return float(np.sqrt(np.mean(found)))


def embedded_spread() -> float:
    """`spread_of` small networks on the principal components of the embedded images."""
    with tempfile.TemporaryDirectory() as folder:
        info = catalogue(PROJECT / "configs/datasets.csv")["fashion_mnist_mini"]
        fetch(info, Path(folder))
        data = load_dataset(Path(folder) / "fashion_mnist_mini.safetensors")
    images = torch.cat([part.normalise(part.images).flatten(1) for part in (data.train, data.test)])
    labels = torch.cat([data.train.labels, data.test.labels])
    images -= images.mean(0)
    images = images @ torch.linalg.eigh(images.T @ images).eigenvectors[:, -COMPONENTS:]
    images /= images.square().mean().sqrt()
    seen = halves(len(labels), NETWORKS, np.random.default_rng(0))
    logits = [_trained(images, labels, torch.from_numpy(own), k) for k, own in enumerate(seen)]
    return spread_of(logit_confidence(np.stack(logits), labels.numpy()), seen)


def _trained(images: torch.Tensor, labels: torch.Tensor, own: torch.Tensor, seed: int):
    """Logits on all images of a network of one hidden layer trained on those in `own`."""
    torch.manual_seed(seed)
    model = torch.nn.Sequential(
        torch.nn.Linear(COMPONENTS, HIDDEN), torch.nn.ReLU(), torch.nn.Linear(HIDDEN, 10)
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for _ in range(EPOCHS):
        for chosen in own.nonzero().flatten()[torch.randperm(int(own.sum()))].split(100):
            loss = torch.nn.functional.cross_entropy(model(images[chosen]), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        return model(images).numpy()


def table(frame: pd.DataFrame) -> str:
    """Root mean square errors as Markdown: a row a size, two columns a spread."""
    wide = frame.pivot(index="shadows", columns=["spread", "variance"], values="rms")
    wide = wide.reindex(columns=[(spread, v) for spread in SPREADS for v in VARIANCES])
    names = [f"{spread:g}: {variance}" for spread, variance in wide.columns]
    return tabulate(
        wide.map("{:.3f}".format), ["Shadow models", *names], "pipe", disable_numparse=1
    )


def with_table(text: str, frame: pd.DataFrame) -> str:
    """`text` with the table between its marks."""
    head, _, rest = text.partition(MARK)
    return f"{head}{MARK}{table(frame)}\n{END}{rest.partition(END)[2]}"


def main() -> None:
    """Write the table, also to docs/metrics.md; print it and the spread of the embedded images."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    torch.set_num_threads(1)
    found = measured()
    write_text(TABLE, found.to_csv(index=False, float_format="%.4f", lineterminator="\n"))
    found = pd.read_csv(TABLE)
    write_text(METRICS, with_table(METRICS.read_text(encoding="utf-8"), found))
    print(table(found), f"spread of the embedded images: {embedded_spread():.2f}", sep="\n")


if __name__ == "__main__":
    sys.exit(main())
