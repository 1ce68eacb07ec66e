"""Training one hop: losses, soft targets, the loop, and the trainer that keeps them."""

from tasearch.train.loop import Progress
from tasearch.train.trainer import TRAINER_VERSION, Trainer

__all__ = ["TRAINER_VERSION", "Progress", "Trainer"]
