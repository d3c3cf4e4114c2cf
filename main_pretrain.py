"""Thin launcher of ``solo_adv.main_pretrain``, with solo-learn's file name."""

from solo_adv.main_pretrain import main

if __name__ == "__main__":
    main()
