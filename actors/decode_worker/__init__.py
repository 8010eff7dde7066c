"""The decode worker: from bytes to pixels, frames and samples, under limits. Sockets only in
`actor.py`."""
