"""Models of texts: the mean of the embeddings of all tokens, and a dense layer."""

from __future__ import annotations

from torch import Tensor, nn

VOCABULARY = 600  # data.vocabulary of the study
PAD = 0  # the id behind a text's end, of a tokenizer that is trained here


class Bag(nn.Module):
    """A bag of tokens.

    Args:
        width: Numbers of an embedding.
        num_classes: Number of classes.
    """

    def __init__(self, width: int, num_classes: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, width)
        self.hidden, self.out = nn.Linear(width, width), nn.Linear(width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Token ids (samples, any length) to logits (samples, classes); padding changes nothing."""
        mask = (x != PAD).unsqueeze(2)
        mean = (self.tokens(x) * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
        logits: Tensor = self.out(self.hidden(mean).relu())
        return logits


def build(width: int, *, in_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """A bag of tokens of a width."""
    return Bag(width, num_classes)
