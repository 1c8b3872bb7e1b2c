"""The shared truth of several machines, and this machine's working copy of it.

Belongs here: objects in a bucket or a shared folder (`place`), what of them this machine has
(`index`), and how the two come together (`pulling`, `publishing`, `marks`). Steps and readers work
on local files and know nothing of it. Only `remote` imports obstore, and only when it is needed.
"""
