"""Thin launcher of ``solo_adv.commands.knn``, with solo-learn's file name."""

from solo_adv.commands.knn import main

if __name__ == "__main__":
    main()
