"""Training hops: losses, soft targets, the loop, the trainer that keeps them, and engines."""

from tasearch.train.hops import Task, train_hop, train_hops
from tasearch.train.messages import Progress
from tasearch.train.trainer import TRAINER_VERSION, Trainer

__all__ = ["TRAINER_VERSION", "Progress", "Task", "Trainer", "train_hop", "train_hops"]
