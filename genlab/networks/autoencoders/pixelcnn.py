"""Gated PixelCNN over a grid of codes: p(codes) as a product over positions in raster order.

Van den Oord et al. 2016, arXiv:1606.05328. Two stacks, so that there is no blind spot: the
vertical one sees all rows above, the horizontal one the row to the left, and is fed by the first.
Departures:
- the stacks read inputs shifted by one (down; right), so that no kernel needs a mask but padding
  on one side (as PixelCNN++, arXiv:1701.05517, does); the dependencies are the same;
- codes enter through an embedding, and the output is the sum of all layers' skip connections
  (as the paper's WaveNet sibling and VQ-VAE's prior), not the last layer alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def gate(x: Tensor) -> Tensor:
    """Gated activation, tanh(a) * sigmoid(b) of the two halves: (B, 2W, h, w) -> (B, W, h, w)."""
    a, b = x.chunk(2, dim=1)
    return a.tanh() * b.sigmoid()


class GatedLayer(nn.Module):
    """One layer of both stacks (figure 2 of the paper).

    Args:
        width: W.
        kernel_size: n, odd; the vertical kernel is ceil(n/2) x n, the horizontal 1 x ceil(n/2).
        dropout: rate on the horizontal stack's input.
    """

    def __init__(self, width: int, kernel_size: int, dropout: float) -> None:
        super().__init__()
        half = kernel_size // 2
        self.pad_above, self.pad_left = (half, half, half, 0), (half, 0, 0, 0)
        self.vertical = nn.Conv2d(width, 2 * width, (half + 1, kernel_size))
        self.link = nn.Conv2d(2 * width, 2 * width, 1)
        self.horizontal = nn.Conv2d(width, 2 * width, (1, half + 1))
        self.out = nn.Conv2d(width, 2 * width, 1)  # residual and skip
        self.dropout = nn.Dropout(dropout)

    def above(self, v: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Vertical stack (B, W, h, w) -> its next value, and what the horizontal stack is fed."""
        x = self.vertical(F.pad(v, self.pad_above))  # (B, 2W, h, w): rows up to the same one
        return gate(x + condition), self.link(x) + condition

    def left(self, h: Tensor, fed: Tensor) -> tuple[Tensor, Tensor]:
        """Horizontal stack (B, W, h, w) -> its next value (residual), and its skip connection."""
        x = self.horizontal(F.pad(self.dropout(h), self.pad_left))
        residual, skip = self.out(gate(x + fed)).chunk(2, dim=1)
        return h + residual, skip


class PixelCNN(nn.Module):
    """Logits of each code given the codes before it in raster order, and the image's class.

    Args:
        num_codes: K.
        shape: (h, w) of the code grid.
        width: W, channels of both stacks.
        depth: number of gated layers.
        num_classes: labels 0 ... num_classes - 1 are embedded, -1 as "unknown"; 0 for no condition.
        kernel_size: n, odd.
        dropout: rate in every layer.
        context_dim: width of a vector that takes the class's place as condition; 0 for the class.

    Raises:
        ValueError: an even kernel, or a size below one.
    """

    layers: Sequence[GatedLayer]

    def __init__(
        self,
        num_codes: int,
        shape: tuple[int, int],
        width: int = 64,
        depth: int = 6,
        num_classes: int = 0,
        kernel_size: int = 5,
        dropout: float = 0.0,
        context_dim: int = 0,
    ) -> None:
        super().__init__()
        if kernel_size % 2 == 0 or kernel_size < 3:
            raise ValueError(f"kernel_size {kernel_size} must be odd and >= 3")
        if min(width, depth) < 1:
            raise ValueError(f"width {width} and depth {depth} must be >= 1")
        self.num_codes, self.shape = num_codes, shape
        self.embedding = nn.Embedding(num_codes, width)
        self.start = nn.Parameter(torch.zeros(2, width, 1, 1))  # outside the grid: above, left
        self.label: nn.Embedding | nn.Linear
        if context_dim:
            self.label = nn.Linear(context_dim, depth * 2 * width)
        else:
            self.label = nn.Embedding(num_classes + 1, depth * 2 * width)
            nn.init.zeros_(self.label.weight)
        layers = [GatedLayer(width, kernel_size, dropout) for _ in range(depth)]
        self.layers = nn.ModuleList(layers)  # type: ignore[assignment]
        self.head = nn.Sequential(
            nn.ReLU(), nn.Conv2d(width, 2 * width, 1), nn.ReLU(), nn.Conv2d(2 * width, num_codes, 1)
        )

    def forward(self, codes: Tensor, label: Tensor | None = None) -> Tensor:
        """Logits (B, K, h, w) for codes (B, h, w) and labels (B,), -1 or None: unknown.

        With a context, vectors (B, context_dim) in place of labels.
        """
        return self._row_by_left(codes, self._fed(codes, label))

    @torch.no_grad()
    def sample(self, n: int, label: Tensor | None = None, temperature: float = 1.0) -> Tensor:
        """Draw n grids of codes in raster order: (n, h, w).

        The vertical stack runs once a row, the horizontal one once a position.
        """
        height, width = self.shape
        codes = torch.zeros(n, height, width, dtype=torch.int64, device=self.start.device)
        for i in range(height):
            fed = [x[:, :, i : i + 1] for x in self._fed(codes[:, : i + 1], label)]
            for j in range(width):
                to_left = [x[..., : j + 1] for x in fed]
                logits = self._row_by_left(codes[:, i : i + 1, : j + 1], to_left)[:, :, 0, j]
                p = (logits.float() / temperature).softmax(1)
                codes[:, i, j] = torch.multinomial(p, 1)[:, 0]
        return codes

    def _fed(self, codes: Tensor, label: Tensor | None) -> list[Tensor]:
        """Input of each horizontal layer from the vertical stack, which sees only rows above."""
        x = self._embed(codes)
        first = self.start[:1].expand(len(x), -1, 1, x.shape[3])
        v = torch.cat([first, x[:, :, :-1]], dim=2)  # shifted down
        conditions = self._condition(label, codes).chunk(len(self.layers), dim=1)
        fed = []
        for layer, condition in zip(self.layers, conditions, strict=True):
            v, to_row = layer.above(v, condition)
            fed.append(to_row)
        return fed

    def _row_by_left(self, codes: Tensor, fed: list[Tensor]) -> Tensor:
        """Logits from each row's codes to the left and what the vertical stack fed."""
        x = self._embed(codes)
        first = self.start[1:].expand(len(x), -1, x.shape[2], 1)
        h = torch.cat([first, x[:, :, :, :-1]], dim=3)  # shifted right
        total = torch.zeros_like(h)
        for layer, from_above in zip(self.layers, fed, strict=True):
            h, skip = layer.left(h, from_above)
            total = total + skip
        return self.head(total)

    def _embed(self, codes: Tensor) -> Tensor:
        return self.embedding(codes).permute(0, 3, 1, 2)  # (B, W, h, w)

    def _condition(self, label: Tensor | None, codes: Tensor) -> Tensor:
        if isinstance(self.label, nn.Linear):
            found: Tensor = self.label(label)[:, :, None, None]
            return found
        if label is None:
            label = codes.new_full((len(codes),), -1)
        rows = label.where(label >= 0, self.label.num_embeddings - 1)  # unknown: the last row
        return self.label(rows)[:, :, None, None]  # (B, depth * 2W, 1, 1)
