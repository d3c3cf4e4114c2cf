"""A teacher for methods that need one: the averaged weights, which need no checkpoint."""

from solo_adv.methods import MIXINS


def taught(method):
    """Overrides that let the config of a method by name do without a teacher's checkpoint."""
    if not MIXINS[method].objective_class.needs_teacher:
        return []
    return [
        *("teacher.kind=average", "teacher.checkpoint=null", "teacher.start_student=false"),
        "averaging.decay=0.9",
    ]
