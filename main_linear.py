"""Thin launcher of ``solo_adv.main_linear``, with solo-learn's file name."""

from solo_adv.main_linear import main

if __name__ == "__main__":
    main()
