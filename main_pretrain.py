"""Thin launcher of ``solo_adv.commands.pretrain``, with solo-learn's file name."""

from solo_adv.commands.pretrain import main

if __name__ == "__main__":
    main()
