"""A teacher for methods that need one: the averaged weights, which need no checkpoint."""

from solo_adv.methods import MIXINS


def taught(method, *, of_hydra=True):
    """Overrides that let the config of a method by name do without a teacher's checkpoint.

    With ``of_hydra`` they are overrides of the method's YAML, whose network may be the teacher's.
    """
    if not MIXINS[method].objective_class.needs_teacher:
        return []
    return [
        *("teacher.kind=average", "teacher.checkpoint=null", "teacher.start_student=false"),
        "averaging.decay=0.9",
        *(["~student"] if of_hydra and method == "fare" else []),
    ]
