"""Methods: each an objective and an adversary in one short file. Hosts make them runnable."""

from solo_adv.methods.adversarial import AdversarialMethod, NonFiniteLossError
from solo_adv.methods.cfamc import CFAMC
from solo_adv.methods.emp_ssl import EMPSSL
from solo_adv.methods.robust_emp import RobustEMP

MIXINS: dict[str, type[AdversarialMethod]] = {
    "cfamc": CFAMC,
    "emp_ssl": EMPSSL,
    "robust_emp": RobustEMP,
}

__all__ = ["CFAMC", "EMPSSL", "MIXINS", "AdversarialMethod", "NonFiniteLossError", "RobustEMP"]
