"""The programs that train: one seam (`base`), and behind it `builtin` and `kohya`."""
