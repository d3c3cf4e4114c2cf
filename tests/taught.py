"""A teacher for methods that need one: the averaged weights, or a model of the package's zoo."""

from solo_adv.methods import MIXINS


def taught(method, *, of_hydra=True):
    """Overrides that let the config of a method by name do without a teacher's checkpoint.

    With ``of_hydra`` they are overrides of the method's YAML, whose network may be the teacher's.
    """
    objective = MIXINS[method].objective_class
    if objective.needs_clusters:
        return [
            *("teacher.kind=bank", "teacher.checkpoint=cfamc_resnet10w16_digits_m3"),
            *("teacher.start_student=false", "teacher.crops=1", "teacher.clusters=5"),
        ]
    if not objective.needs_teacher:
        return []
    return [
        *("teacher.kind=average", "teacher.checkpoint=null", "teacher.start_student=false"),
        "averaging.decay=0.9",
        *(["~student"] if of_hydra and method == "fare" else []),
    ]
