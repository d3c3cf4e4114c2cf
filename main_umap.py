"""Thin launcher of ``solo_adv.commands.umap``, with solo-learn's file name."""

from solo_adv.commands.umap import main

if __name__ == "__main__":
    main()
