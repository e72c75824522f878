"""The bound of models with a discrete part: classes, angle bins, or both, summed exactly or by an unbiased choice of pairs.

Joint (unlabelled): L = Σ_{c,b} q(c, b|x) [−log p(x|z, φ_b, c) + β KL(q(z|x) ‖ p)] + β_d [Σ q log q + log K B].
Semi-supervised, M2: the same with z of each class for unlabelled images; for labelled ones c is the label, and cross-entropy is added.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from training.latent.encoders import Posterior
from training.latent.likelihoods import log_probability
from training.latent.model import InvariantVAE
from training.latent.objective import CapacityNow, weighed


@dataclass(frozen=True)
class Pairs:
    """Which (class, bin) pairs are decoded: those with the greatest q, and others at random. `at_random` >= 1."""

    most_probable: int
    at_random: int


@dataclass(frozen=True)
class MixtureBound:
    """The parts of −ELBO of each image, nats, (n,) each.

    Attributes:
        reconstruction: Σ q(c, b|x) of −log p(x|z, c, b).
        pose: Σ q KL of the pose latents.
        content: Σ q KL of the content latents.
        discrete: KL of q(c, b|x), of a labelled image of q(b|x, y), to the uniform prior.
        posterior: of the images, with its gradient.
    """

    reconstruction: Tensor
    pose: Tensor
    content: Tensor
    discrete: Tensor
    posterior: Posterior

    def loss(self, pose_beta: float, content_beta: float | CapacityNow, discrete_beta: float | CapacityNow) -> Tensor:
        """Mean over images, scalar; content's and discrete terms may be a capacity's."""
        return weighed(self.reconstruction, ((self.pose, pose_beta), (self.content, content_beta), (self.discrete, discrete_beta)))

    def total(self) -> Tensor:
        """−ELBO (n,) with every β = 1."""
        return self.reconstruction + self.pose + self.content + self.discrete

    @property
    def class_log_q(self) -> Tensor:
        """(n, K) log q(c|x)."""
        return torch.logsumexp(self.posterior.log_q, dim=2)


def mixture_bound(
    model: InvariantVAE,
    images: Tensor,
    noise: Tensor,
    *,
    labels: Tensor | None = None,
    chosen: Tensor | None = None,
    pairs: Pairs | None = None,
    negligible: float = 0.0,
    generator: torch.Generator | None = None,
    context: Tensor | None = None,
    outputs: Tensor | None = None,
) -> MixtureBound:
    """One-sample estimate of −ELBO over the continuous latents; the discrete ones are summed over.

    Args:
        model: with classes or angle bins.
        images: (n, h, w, c) in the normalised scale, clipped to [0, 1] for both Bernoulli kinds.
        noise: (n, L) drawn from N(0, 1); all pairs of an image share it.
        labels: (n,) int64 classes; None: unlabelled. The constant −log p(y) of labelled images is left out.
        chosen: (n, M) int64, pixels drawn uniformly for each image, as in `objective.bound`; None: all.
        pairs: which pairs are decoded; None: all K·B. The pairs left out are estimated by those at random, so the bound stays unbiased.
        negligible: with all pairs wanted, those of an image that are no more probable than this are left out: for evaluation, where a
            millionth of some thousand nats is nothing and most of the K·B pairs are less probable.
        generator: draws the random pairs.
        context: as in `objective.bound`; classes and bins do not depend on it.
        outputs: as in `objective.bound`.
    """
    found = model.posterior(images, context)
    weights, discrete = _weights(found, labels)
    pose_size = len(model.specification.pose_names)

    def parts(rows: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        reconstruction, divergence = _decode(model, images if outputs is None else outputs, found, noise, rows, index, chosen, context)
        return reconstruction, divergence[:, :pose_size].sum(dim=1), divergence[:, pose_size:].sum(dim=1)

    if pairs is None or pairs.most_probable + pairs.at_random >= weights.shape[1]:
        rows, index = torch.nonzero(weights.detach() > negligible, as_tuple=True)
        share = weights[rows, index]
        sums = [torch.zeros_like(discrete).index_add(0, rows, share * part) for part in parts(rows, index)]
    else:
        index, factor = _choose(weights.detach(), pairs, generator)
        rows = torch.arange(len(index), device=index.device).repeat_interleave(index.shape[1])
        share = torch.gather(weights, 1, index) * factor
        sums = [_estimate(share, part.reshape(index.shape), factor) for part in parts(rows, index.flatten())]
    return MixtureBound(*sums, discrete, found)


def usage_pull(class_log_q: Tensor, running: Tensor) -> Tensor:
    """[ours] Σ_c (batch's mean q_c) log(K r_c), scalar: its gradient is that of KL(mean class probability ‖ uniform) at the running mean r.

    A batch of n images that have chosen uses K classes unevenly by chance, with a KL of (K − 1)/2n: taken over one batch, that term would
    reward images that do not choose.

    Args:
        class_log_q: (n, K) log q(c|x).
        running: (K,) mean class probability over the last batches; no gradient goes there.
    """
    return (torch.exp(class_log_q).mean(dim=0) * torch.log(running.detach() * class_log_q.shape[1] + 1e-6)).sum()


def choice_entropy(class_log_q: Tensor) -> Tensor:
    """[ours] Mean entropy of the images' own class probabilities (n, K), scalar, nats: 0 when each image has chosen."""
    return -(torch.exp(class_log_q) * class_log_q).sum(dim=1).mean()


def _weights(found: Posterior, labels: Tensor | None) -> tuple[Tensor, Tensor]:
    """Each pair's weight (n, K·B), summing to 1, and the KL of that distribution to the uniform one (n,)."""
    log_q = found.log_q
    if labels is None:
        flat = log_q.flatten(1)
        q = torch.exp(flat)
        return q, (q * flat).sum(dim=1) + math.log(flat.shape[1])
    own = log_q[torch.arange(len(labels), device=labels.device), labels]
    log_bin = own - torch.logsumexp(own, dim=1, keepdim=True)
    of_bin = torch.exp(log_bin)
    of_class = functional.one_hot(labels, log_q.shape[1]).to(of_bin.dtype)
    return (of_class[:, :, None] * of_bin[:, None, :]).flatten(1), (of_bin * log_bin).sum(dim=1) + math.log(log_q.shape[2])


def _choose(weights: Tensor, pairs: Pairs, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
    """Indices (n, S) of pairs and each one's factor (n, S): how many pairs it stands for."""
    count, every = weights.shape
    top = torch.topk(weights, pairs.most_probable, dim=1).indices
    lot = torch.rand(weights.shape, generator=generator, device=weights.device).scatter(1, top, -1.0)
    others = torch.topk(lot, pairs.at_random, dim=1).indices
    stands_for = (every - pairs.most_probable) / pairs.at_random
    factor = torch.cat((weights.new_ones((count, pairs.most_probable)), weights.new_full((count, pairs.at_random), stands_for)), dim=1)
    return torch.cat((top, others), dim=1), factor


def _estimate(share: Tensor, part: Tensor, factor: Tensor) -> Tensor:
    """Unbiased Σ_j w_j f_j from chosen pairs: b + Σ_chosen factor w_j (f_j − b).

    The weights sum to 1, so any b that does not depend on which pairs were drawn at random leaves the expectation alone; b near the f_j keeps
    the noise small. It is the mean over the pairs that are always there.
    """
    sure = (factor == 1).to(part.dtype) * share.detach()
    b = ((sure * part.detach()).sum(dim=1) / sure.sum(dim=1).clamp_min(1e-12))[:, None]
    return b[:, 0] + (share * (part - b)).sum(dim=1)


def _decode(  # noqa: PLR0917 - the one caller is above
    model: InvariantVAE, images: Tensor, found: Posterior, noise: Tensor, rows: Tensor, index: Tensor, chosen: Tensor | None, context: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Of images `rows` (m,) with pairs `index` (m,): −log p(x|z, c, b) (m,) and the KL of each latent (m, L)."""
    specification = model.specification
    bins, classes = index % specification.bin_count, index // specification.bin_count
    at = bins if specification.posterior_count == 1 else index
    mean, sd = (part.flatten(1, 2)[rows, at] for part in (found.mean, found.sd))
    latents = model.placed((mean + sd * noise[rows])[:, None], bins[:, None])[:, 0]  # z = μ + σ ε
    weights = functional.one_hot(classes, specification.class_count).to(latents.dtype) if specification.class_source else None
    sampling = model.split(latents, weights, None if context is None else context[rows])
    values = images.flatten(1, 2)
    if chosen is None:
        output, factor = model.draw(sampling), 1.0
    else:
        values = torch.gather(values, 1, chosen[:, :, None].expand(-1, -1, values.shape[2]))
        output, factor = model.draw(sampling, model.grid[chosen][rows]), specification.pixels / chosen.shape[1]
    log_p = log_probability(specification.likelihood, output, values[rows], model.noise_sd)
    return -factor * log_p.sum(dim=(1, 2)), model.circles.divergence(mean, sd)
