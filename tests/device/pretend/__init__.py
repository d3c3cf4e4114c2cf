"""A pretend accelerator: a device other than ``cpu`` whose tensors the CPU computes.

torch has a device type without a backend, ``PrivateUse1``, and here it becomes ``pretend``. Its
tensors have memory of their own, real strides, storage and gradients. Every operation on them
arrives at ``kernels.fallback``, which hands their memory to torch's kernel of the CPU. What a GPU
refuses is refused here:

* A tensor of the CPU among those of the device is an error, unless it has no dimensions and the
  operation works point by point.
* A generator of the CPU does not fill a tensor of the device, nor does the CPU's random state.

What makes the CPU wait for a GPU is counted in ``MODULE.waits``: a copy between the devices (from
the CPU, if it is not ``non_blocking``), a number read from a tensor (``item``, ``bool``, printing)
and a shape that depends on values (``nonzero``, an index that is a mask).

These have no fallback and are covered otherwise:

* Convolutions and their gradients are two operations that each backend writes itself; they are
  here, and call the CPU's.
* Views (``as_strided``, ``view``, ``unfold``) and ``set_`` run in the CPU's kernels directly, which
  only change sizes and strides.
* ``torch.Generator("pretend")`` and a storage of the device cannot be made in Python. While the
  device is in use, ``torch.Generator`` makes a :class:`Generator`, and storages are copied as
  tensors.
* Autocast of this device has no lists of operations. ``autocast.py`` has those that networks and
  losses here use. Its cache of casts does not exist.
* Page-locked memory and streams do not exist here; only a real device shows their faults.
"""

from tests.device.pretend.module import AVAILABLE, MODULE, NAME, is_on
from tests.device.pretend.registration import in_use, prepare

__all__ = ["AVAILABLE", "MODULE", "NAME", "in_use", "is_on", "prepare"]
