"""DeepCluster-v2: images are classified by clusters of their own embeddings, found every epoch.

Caron, Bojanowski, Joulin, Douze 2018, arXiv:1807.05520; in the second version, followed here, of
Caron et al. 2020, arXiv:2006.09882, appendix D. Reference code facebookresearch/swav,
``main_deepclusterv2.py``.
Departures: the banks of embeddings are on every process, there each holds its share; before the
first epoch they are filled with embeddings of unaltered images in eval mode, there of random views;
embeddings enter a bank at the optimiser's step; clusters start from images that the epoch's number
draws.

On several devices set ``trainer.sync_batchnorm``, as the reference does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import lightning as L
import torch
from torch import Tensor, nn

from genlab import losses, metrics, networks, optim
from genlab.augment.pairs import crops, large
from genlab.contracts import Batch, data_of, training_images
from genlab.losses.contrastive import normalise
from genlab.metrics import log_steps
from genlab.metrics.embedding import similarities
from genlab.networks import multicrop
from genlab.networks.bank import Bank
from genlab.networks.clusters import Clusters
from genlab.networks.modes import evaluating
from genlab.networks.pending import Pending
from genlab.networks.queue import keep_out_of_ddp

LARGE = 2  # views that have a bank


class DeepCluster(L.LightningModule):
    """Clustering and classification in turn: an image's cluster is the label of all its views.

    Clusters are those of the embeddings of the last epoch. The images' place in the data set leads
    from a batch to their labels.

    Args:
        channels: C of the images.
        image_size: H = W in pixels.
        encoder: name of f; see `networks.encoder`.
        projector_dims: hidden widths and output width D of the projector.
        projector_norm: ``batch``, ``layer`` or null, between its layers.
        prototypes: K, numbers of clusters; one clustering for each number, of the two banks in
            turn.
        temperature: tau; divides the cosines of embeddings and centroids.
        kmeans_iterations: number of times that the centroids move in a clustering.
        optimizer: settings of the optimiser; see `optim.build`.
        encoder_kwargs: arguments of the encoder (``stem``, ``width`` ...).
        pretrained: weights of the encoder to start from; see `checkpoints.load_backbone`.
        pretrained_options: options for loading them.

    Logs:
        train/loss (nats, lower): cross entropy of an image's cluster with the softmax over the
            centroids; mean over images, views and clusterings.
        train/largest_cluster (share): images in the largest cluster of the first clustering; 1
            after a collapse.
        train/clusters_used (clusters, higher): clusters of the first clustering that have images.
        train/cluster_agreement (share): normalised mutual information of the first clustering with
            the last epoch's; near 1 when clusters no longer change.

    Raises:
        ValueError: an argument is out of its range, or an unknown encoder.
    """

    configure_callbacks = log_steps
    near_ties: ClassVar = dict.fromkeys(
        ("gradient", "weights", "state"), "rounding gives an image another nearest cluster"
    )
    law_exceptions: ClassVar = {"places": "labels are found by an image's place in the data set"}

    def __init__(
        self,
        channels: int = 3,
        image_size: int = 32,
        encoder: str = "resnet18",
        projector_dims: Sequence[int] = (2048, 128),
        projector_norm: str | None = "batch",
        prototypes: Sequence[int] = (3000, 3000, 3000),
        temperature: float = 0.1,
        kmeans_iterations: int = 10,
        optimizer: dict[str, Any] | None = None,
        encoder_kwargs: dict[str, Any] | None = None,
        pretrained: bool | str = False,
        pretrained_options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        if not prototypes or min(prototypes) < 2:
            raise ValueError(f"prototypes {list(prototypes)} must be numbers of at least 2")
        if kmeans_iterations < 1:
            raise ValueError(f"kmeans_iterations {kmeans_iterations} must be at least 1")
        if not temperature > 0:
            raise ValueError(f"temperature {temperature} must be above 0")
        self.encoder = networks.encoder(
            encoder, channels, image_size, pretrained, pretrained_options, **(encoder_kwargs or {})
        )
        self.projector = networks.mlp(self.encoder.out_dim, *projector_dims, norm=projector_norm)
        self.banks = nn.ModuleList(Bank(projector_dims[-1]) for _ in range(LARGE))
        self.clusters = Clusters(list(prototypes), projector_dims[-1])
        self.temperature, self.kmeans_iterations = temperature, kmeans_iterations
        self.clustered_epoch = -1  # of the last clustering: resumed in mid-epoch there is none
        self.pending = Pending()  # rows, and embeddings for each bank
        keep_out_of_ddp(self)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the epoch of the last clustering."""
        checkpoint["clustered_epoch"] = self.clustered_epoch

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with the clusters of the checkpoint."""
        self.clustered_epoch = checkpoint.get("clustered_epoch", -1)

    def on_fit_start(self) -> None:
        """Refuse views that the encoder cannot take; give each training image a row."""
        multicrop.check_sizes(self.encoder, self.trainer)
        bank: Any
        for bank in self.banks:
            bank.fit_to(training_images(data_of(self.trainer)))
            self.clusters.fit_to(len(bank.rows))

    def on_train_epoch_start(self) -> None:
        """Cluster the embeddings of the last epoch; before the first one, embed all images."""
        if self.clustered_epoch == self.current_epoch:
            return
        if self.clustered_epoch < 0:
            self._fill_banks()
        rows: list[Any] = [bank.rows for bank in self.banks]
        self.clusters.update(rows, self.current_epoch, self.kmeans_iterations)
        self.clustered_epoch = self.current_epoch

    @torch.no_grad()
    def _fill_banks(self) -> None:
        data: Any = data_of(self.trainer)
        loader = data.bank_dataloader("train", shard=True)
        with evaluating(self):
            found = metrics.collect(self.embed, (data.to_device(b, self.device) for b in loader))
        bank: Any
        for bank in self.banks:
            bank.rows[bank.rows_at(found.position)] = normalise(found.features).to(bank.rows)

    def forward(self, image: Tensor) -> Tensor:
        """Features for downstream use: (B, C, H, W) -> (B, F), before the projector."""
        return self.encoder(image)

    def embed(self, image: Tensor) -> Tensor:
        """Embeddings that are clustered: (B, C, H, W) -> (B, D)."""
        return self.projector(self.encoder(image))

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Cross entropy of clusters, mean over images, views and clusterings, nats."""
        views = crops(batch)  # V x (B, C, h, w)
        if len(places := large(views)) != LARGE:
            raise ValueError(f"DeepCluster requires {LARGE} large views, got {len(places)}")
        rows = self._rows(batch["index"])  # (B,)
        h = torch.cat(multicrop.by_size(self.encoder, views))  # (V B, F), a pass for each size
        z = self.projector(h)  # (V B, D)
        labels = self.clusters.labels[:, rows].repeat(1, len(views))  # (H, V B)
        loss = losses.cluster_nll(z, self.clusters.centroids, labels, self.temperature)
        z = z.chunk(len(views))  # V x (B, D)
        self.pending.put(batch_idx, rows, *(normalise(z[i].detach()) for i in places))
        return {"loss": loss} | self._sizes() | similarities(z[0], z[1])

    def _rows(self, index: Tensor) -> Tensor:
        bank: Any = self.banks[0]
        rows: Tensor = bank.rows_at(index)
        return rows

    def _sizes(self) -> dict[str, Tensor]:
        sizes = self.clusters.sizes()  # (K,)
        return {
            "largest_cluster": sizes.max() / sizes.sum().clamp(min=1),
            "clusters_used": (sizes > 0).sum(),
            "cluster_agreement": self.clusters.agreement,
        }

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Output for callbacks: ``feature`` (B, F) and ``embedding`` (B, D) of unaltered images."""
        h = self.encoder(batch["image"])  # (B, F)
        return {"feature": h, "embedding": self.projector(h)}

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Once per optimiser step, whatever the gradient accumulation, the banks move."""
        super().optimizer_step(*args, **kwargs)
        self.after_step()

    def after_step(self) -> None:
        """Let the new embeddings into the banks, for the next epoch's clusters."""
        rows, *columns = self.pending.take()
        bank: Any
        for bank, z in zip(self.banks, columns, strict=True):
            bank.move(rows, z)

    def on_step_skipped(self) -> None:
        """Forget the embeddings of a step that was given up."""
        self.pending.drop()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """See `optim.build`."""
        return optim.build(self, self.hparams["optimizer"])
