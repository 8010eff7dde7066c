"""Models by their id on a hub: fetched into the cache of huggingface_hub before anything of the
engine starts.

That library is imported where something is asked of a hub or of its cache, and by no start from a
folder.
"""
