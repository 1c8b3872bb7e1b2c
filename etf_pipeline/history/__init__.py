"""From raw batches to a history that can be trusted.

Pure: frames, arrays and Arrow tables in, values out. What is read and written is in `store/`.
"""
