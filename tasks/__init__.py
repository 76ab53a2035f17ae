"""The commands beside deploy.py, one file each; below them the code, a folder for each stage of the data's way.

catalogue → desired → observed → compare → reports → run → steps → prove → drills: each imports from those before it.
"""
