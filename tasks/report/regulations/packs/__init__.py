"""The regulations, a file each; what several of them share lies beside this folder."""
