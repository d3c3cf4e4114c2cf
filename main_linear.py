"""Thin launcher of ``solo_adv.commands.linear``, with solo-learn's file name."""

from solo_adv.commands.linear import main

if __name__ == "__main__":
    main()
