"""SCAR (Bonato et al., ECCV 2024, arXiv 2404.12922): forget by distance, keep by distillation.

With u(x) = t(Ψ(x)) / ‖t(Ψ(x))‖ and Tukey's power t(z) = (max(z, 0) + ε)^δ, and for each class i
the mean m_i and covariance S_i of t(Ψ_o(x)) over its retained images, from the original Ψ_o:

    S'_i    = S_i + γ₁ v_i I + γ₂ w_i (1 - I),   v_i, w_i = mean on and off the diagonal of S_i
    R_i     = S'_i scaled to a unit diagonal
    d(u, i) = √((u - m̂_i)ᵀ R_i⁻¹ (u - m̂_i)),   m̂_i = m_i / ‖m_i‖            Mahalanobis
    i*(j)   = argmin over i ≠ y_j of d(u_o(x_j), i)                 nearest wrong class
    L       = λ₁ · mean_j d(u(x_j), i*(j)) + λ₂ · KL(softmax(g(x_s) / T) ‖ softmax(f(x_s) / T))

over images to forget x_j and surrogates x_s, images of another kind (`data/surrogates.py`);
f are the logits, g those of the original. In class removal the surrogates that the original
takes for a removed class are left out (if that leaves any), and g of the removed classes is
set to the smallest of all remaining logits: what is distilled knows nothing of them. Each
batch to forget takes R (`batch_ratio`) Adam steps, each with another batch of surrogates;
after each epoch comes DUCK's stop test.

Touches: retain, forget, surrogate. Retained images are read once, for m_i and S_i, which the
paper stores at training time; no update sees them.

The paper's text was not at hand: formulas are from a summary of it, settings and class
removal's teacher from the authors' code. Departs from that code:
* d is the root, as in the paper; the code descends on d².
* Targets are fixed once per sample, from the original in evaluation mode; the code takes
  them in training mode from moving weights, then keeps them by batch number (duck.md, D1).
  The wrong class is found by class, not by row (D4), and for several removed classes.
* S is shrunk once; the code does it twice, which once with γ(2 + γ) equals (15 for 3).
* ε keeps the slope of t finite: at 0, where ReLU puts much of Ψ, that of z^δ is infinite,
  and below 0, where a tanh may be, it is not a number. Features below 0 get no gradient.
* T divides both logits; in the paper the teacher's alone, in the code none (its T is 1).
  KL is the code's; the paper's is the mean of both directions.
* g's smallest logit is taken over all surrogates, not anew in each batch; R means R steps, not
  R + 1; the stop test comes after an epoch, not after each step; no small numbers are added
  to logits; the learning rate is constant.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import Field, model_validator
from torch.nn.functional import kl_div, log_softmax, normalize

from unlearning.data.batches import Images
from unlearning.data.surrogates import surrogate
from unlearning.methods.base import EarlyStop, Impossible, Problem
from unlearning.models.base import Classifier
from unlearning.seeds import seed_for
from unlearning.training.loop import embed, predict
from unlearning.training.optim import Adam

TOUCHES = frozenset({"retain", "forget", "surrogate"})
BATCHES = {"batch_size": "forget"}

EPSILON = 1e-6
"""ε, in units of the embedding: the steepest slope of Tukey's square root is 500."""


class Settings(EarlyStop):
    """λ₁, λ₂, T, δ, γ₁, γ₂, R and the schedule; epochs is the most that run before the stop.

    surrogate, surrogate_images: name and size of the set to distil on.
    """

    lambda_forget: float = Field(ge=0)
    lambda_distil: float = Field(ge=0)
    temperature: float = Field(gt=0)
    delta: float = Field(gt=0, le=1)
    gamma_diagonal: float = Field(gt=0)
    gamma_off_diagonal: float = Field(ge=0)
    batch_ratio: int = Field(gt=0)
    batch_size: int = Field(gt=0)
    lr: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    epochs: int = Field(gt=0)
    surrogate: str
    surrogate_images: int = Field(gt=0)

    @model_validator(mode="after")
    def _definite(self) -> Settings:
        if self.gamma_diagonal < self.gamma_off_diagonal:
            raise ValueError("gamma_diagonal must not be below gamma_off_diagonal")
        return self


def surrogates(settings: Settings, like: Images) -> Images:
    """The images to distil on, in the shape of `like`; the same ones in every cell."""
    seed = seed_for("surrogate", settings.surrogate)
    return surrogate(settings.surrogate, settings.surrogate_images, like, seed)


def tukey(embeddings: torch.Tensor, delta: float) -> torch.Tensor:
    """Tukey's power, elementwise: (max(z, 0) + ε)^δ > 0, which makes skewed features rounder."""
    return (embeddings.clamp(min=0) + EPSILON) ** delta


def shrink(covariance: torch.Tensor, diagonal: float, off_diagonal: float) -> torch.Tensor:
    """S' from S [D, D], D > 1: multiples of the mean variance and of the mean covariance added.

    The mean covariance is over all pairs, not only over those that are not zero: S' then has
    no negative eigenvalue for diagonal >= off_diagonal, however small the covariances are.
    """
    size = len(covariance)
    eye = torch.eye(size, dtype=covariance.dtype, device=covariance.device)
    variance = covariance.diagonal().mean()
    other = (covariance.sum() - covariance.diagonal().sum()) / (size * (size - 1))
    return covariance + diagonal * variance * eye + off_diagonal * other * (1 - eye)


def correlation(covariance: torch.Tensor) -> torch.Tensor:
    """The covariance [D, D] scaled to a unit diagonal."""
    deviation = covariance.diagonal().sqrt()
    return covariance / (deviation[:, None] * deviation)


@dataclass(frozen=True)
class Distributions:
    """What a distance to a class needs: m̂ [R, D] and lower factors of R_i = L Lᵀ [R, D, D]."""

    means: torch.Tensor
    factors: torch.Tensor

    def distance(self, directions: torch.Tensor, row: int) -> torch.Tensor:
        """Mahalanobis distance [B] of unit vectors u [B, D] to the class in `row`."""
        away = (directions - self.means[row]).T
        whitened = torch.linalg.solve_triangular(self.factors[row], away, upper=False)
        return torch.linalg.vector_norm(whitened, dim=0)


def distributions(
    features: torch.Tensor, labels: torch.Tensor, classes: list[int], settings: Settings
) -> tuple[torch.Tensor, torch.Tensor]:
    """m̂ [len(classes), D] and R [len(classes), D, D] of t(Ψ) [N, D] with labels [N].

    Row r belongs to classes[r]. Raises Impossible for a class of fewer than two samples,
    which has no covariance.
    """
    few = [c for c in classes if (labels == c).sum() < 2]
    if few:
        raise Impossible(f"fewer than two retained samples of class {few[0]}: no covariance")
    parts = [features[labels == c] for c in classes]
    gammas = settings.gamma_diagonal, settings.gamma_off_diagonal
    correlations = [correlation(shrink(part.T.cov(), *gammas)) for part in parts]
    means = torch.stack([part.mean(0) for part in parts])
    return normalize(means), torch.stack(correlations)


def nearest_wrong(
    distances: torch.Tensor, labels: torch.Tensor, classes: list[int]
) -> torch.Tensor:
    """Row of the nearest class that is not its own, for each sample [N].

    distances [N, R]; row r is class classes[r], labels [N].
    """
    own = labels[:, None] == torch.tensor(classes, device=labels.device)
    return distances.masked_fill(own, torch.inf).argmin(1)


def forget_loss(directions: torch.Tensor, rows: torch.Tensor, known: Distributions) -> torch.Tensor:
    """Mean distance of unit vectors u [B, D] to the class in rows [B] that each is sent to."""
    parts = [known.distance(directions[rows == row], row) for row in rows.unique().tolist()]
    return torch.cat(parts).mean()


def teacher(logits: torch.Tensor, removed: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """What to distil from the original's logits [N, K], and which of the N count, a bool [N].

    removed: classes of a class removal, none in homogeneous removal. Images taken for one
    of them do not count, unless all are; its logits become the smallest of all that count.
    """
    gone = torch.tensor(removed, dtype=torch.int64, device=logits.device)
    counts = ~torch.isin(logits.argmax(1), gone)
    if not counts.any():
        counts = torch.ones_like(counts)
    return logits.index_fill(1, gone, logits[counts].min().item()), counts


def distillation(
    logits: torch.Tensor, target: torch.Tensor, counts: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Mean KL(softmax(target / T) ‖ softmax(logits / T)) of the images that count; 0 if none does.

    logits, target: [B, K]; counts: bool [B].
    """
    student, wanted = (log_softmax(x / temperature, 1) for x in (logits, target))
    each = kl_div(student, wanted, reduction="none", log_target=True).sum(1)
    return (each * counts).sum() / counts.sum().clamp(min=1)


def unlearn(model: Classifier, problem: Problem, settings: Settings) -> Classifier:
    """Run SCAR on `model` in place until the stop test passes or the epochs are used up."""
    known, rows = _targets(model, problem, settings)
    logits = predict(model, problem.surrogate, problem.indices("surrogate"))
    target, counts = teacher(logits, problem.forget_classes)
    optimizer = Adam(model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)
    surrogate_batches = problem.endless("surrogate", settings.batch_size)
    model.train()
    for _ in problem.epochs(settings.epochs, model, optimizer):
        for images, _, positions in problem.batches("forget", settings.batch_size):
            for _ in range(settings.batch_ratio):
                others, _, chosen = next(surrogate_batches)
                directions = normalize(tukey(model.embed(images), settings.delta))
                pull = forget_loss(directions, rows[positions], known)
                keep = distillation(
                    model(others), target[chosen], counts[chosen], settings.temperature
                )
                loss = settings.lambda_forget * pull + settings.lambda_distil * keep
                problem.step(optimizer, loss)
        if problem.finished(model, settings):
            break
    return model


def _targets(
    model: Classifier, problem: Problem, settings: Settings
) -> tuple[Distributions, torch.Tensor]:
    """The classes' distributions and the row [F] that each sample to forget is sent to."""
    retain, forget = problem.indices("retain"), problem.indices("forget")
    labels, classes = problem.train.labels, problem.retained_classes
    features = tukey(embed(model, problem.train, retain), settings.delta)
    means, correlations = distributions(features, labels[retain], classes, settings)
    problem.check(correlations.sum())
    factors, failed = torch.linalg.cholesky_ex(correlations)
    if failed.any():
        singular = classes[int(failed.nonzero()[0])]
        raise Impossible(f"the covariance of class {singular} is not positive definite")
    known = Distributions(means, factors)
    directions = normalize(tukey(embed(model, problem.train, forget), settings.delta))
    distances = torch.stack([known.distance(directions, r) for r in range(len(classes))], 1)
    return known, nearest_wrong(distances, labels[forget], classes)


def images(settings: Mapping[str, Any], forget: int, retain: int) -> float:
    """Images that train the model at most, a forward pass counted as a third (see `methods`)."""
    size = settings["batch_size"]
    others = math.ceil(forget / size) * min(size, settings["surrogate_images"])
    targets = (forget + retain + settings["surrogate_images"]) / 3
    return targets + settings["epochs"] * settings["batch_ratio"] * (forget + others)
