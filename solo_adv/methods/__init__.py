"""The methods. Each is a short file that names an objective and an adversary; hosts run them."""

from solo_adv.methods.acl import ACL
from solo_adv.methods.adversarial import AdversarialMethod
from solo_adv.methods.cfamc import CFAMC
from solo_adv.methods.deacl import DeACL, DeACLFast, DeACLFreeAdv
from solo_adv.methods.dynacl import DynACL
from solo_adv.methods.dynacl_pp import DynACLPlusPlus
from solo_adv.methods.emp_ssl import EMPSSL
from solo_adv.methods.fare import FARE
from solo_adv.methods.lifecycle import NonFiniteLossError
from solo_adv.methods.robust_emp import RobustEMP
from solo_adv.methods.robust_simclr import RobustSimCLR
from solo_adv.methods.simclr import SimCLR
from solo_adv.methods.simclr_freeadv import SimCLRFreeAdv
from solo_adv.methods.supervised_freeadv import SupervisedFreeAdv

MIXINS: dict[str, type[AdversarialMethod]] = {
    "acl": ACL,
    "cfamc": CFAMC,
    "deacl": DeACL,
    "deacl_fast": DeACLFast,
    "deacl_freeadv": DeACLFreeAdv,
    "dynacl": DynACL,
    "dynacl_pp": DynACLPlusPlus,
    "emp_ssl": EMPSSL,
    "fare": FARE,
    "robust_emp": RobustEMP,
    "robust_simclr": RobustSimCLR,
    "simclr": SimCLR,
    "simclr_freeadv": SimCLRFreeAdv,
    "supervised_freeadv": SupervisedFreeAdv,
}

__all__ = [
    "ACL",
    "CFAMC",
    "EMPSSL",
    "FARE",
    "MIXINS",
    "AdversarialMethod",
    "DeACL",
    "DeACLFast",
    "DeACLFreeAdv",
    "DynACL",
    "DynACLPlusPlus",
    "NonFiniteLossError",
    "RobustEMP",
    "RobustSimCLR",
    "SimCLR",
    "SimCLRFreeAdv",
    "SupervisedFreeAdv",
]
