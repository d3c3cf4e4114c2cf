"""Thin launcher of ``solo_adv.main_knn``, with solo-learn's file name."""

from solo_adv.main_knn import main

if __name__ == "__main__":
    main()
