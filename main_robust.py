"""Thin launcher of ``solo_adv.main_robust``, with solo-learn's file name."""

from solo_adv.main_robust import main

if __name__ == "__main__":
    main()
