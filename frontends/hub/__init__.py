"""Models by their id on a hub, fetched into the cache of huggingface_hub before a start. That
library is imported where a hub or its cache is asked, and by no start from a folder."""
