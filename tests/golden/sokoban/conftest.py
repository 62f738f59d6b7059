collect_ignore = ["produce.py"]  # runs where the original is installed
