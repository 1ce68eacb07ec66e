"""The words that are tasearch's own, each in one sense; docs/glossary.md has the same."""

from __future__ import annotations

GLOSSARY = {
    "teacher": "The model at the top of every chain. It is trained once, or loaded.",
    "assistant": (
        "A model between teacher and student: it learns from the model before it and teaches "
        "the one after it."
    ),
    "student": "The last model of a chain: the one to ship.",
    "chain": (
        "A teacher, any number of assistants, and a student, each smaller than the one "
        "before: 64 → 16 → 8."
    ),
    "hop": (
        "One distillation in a chain: one model is trained on the outputs of the model before "
        "it. Chains that begin alike share their first hops. The training of a teacher, or of "
        "a student without one, counts as a hop too."
    ),
    "width": (
        "The number that sets a model's size within its family, and stands for the model in a "
        "chain. In the families plain and resnet it is a number of layers."
    ),
    "recipe": (
        "How one model is trained: its loss, temperature, weight of the distillation term, "
        "learning rate, epochs and the like."
    ),
    "replicate": (
        "One of several trainings of the same chain, with other initial weights and another "
        "order of batches."
    ),
    "rung": (
        "An epoch at which a model is evaluated and saved, and at which a trial may be "
        "stopped, as in ASHA. Never a size."
    ),
    "front": (
        "The students that no other beats in accuracy, size and latency at once: the Pareto front."
    ),
    "verdict": (
        "What fresh seeds say of a comparison: assistants (or distillation) help, hurt, make "
        "no difference, or it cannot be told."
    ),
    "skyline": (
        "For a student, the best accuracy of any finished student that is no larger and no slower."
    ),
}
