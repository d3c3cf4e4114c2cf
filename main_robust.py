"""Thin launcher of ``solo_adv.commands.robust``, with solo-learn's file name."""

from solo_adv.commands.robust import main

if __name__ == "__main__":
    main()
